-- Names of examples/accounts in Central: who has an account joins by its token, and nobody else is
-- called so. Pages get tokens by Central's own port, as from that example.

local folder = (arg[0]:match "^(.*)/[^/]*$" or ".") .. "/../accounts"
package.path = folder .. "/?.lua;" .. package.path

local sync = require "sync"
local Accounts = require "accounts"
local Central = require "central"

local WRONG = 6 -- the code of the fault

local names = {}

--- Asks the accounts of a database, whose tokens are signed with `secret`. Waits.
function names.begin(db, secret)
  sync.migrate(db, folder .. "/migrations")
  local accounts = Accounts:new {db = db}
  local routes = require "game" {db = db, secret = secret}.routes
  Central.routes["POST /signup"], Central.routes["POST /login"] =
    routes["POST /signup"], routes["POST /login"]
  Central.routes["GET /accounts"] = function() return {has = true} end

  local asGuest = Central.nameOf
  function Central.nameOf(options)
    if options.token == nil then
      local name = asGuest(options)
      if not accounts:find {sub = name:lower()} then return name end
      error(sync.fault(WRONG, "this name has a password"))
    end
    local claims = sync.jwt.verify(options.token, {algorithm = "HS256", key = secret})
    local account = claims and accounts:find(claims)
    if not account then error(sync.fault(WRONG, "please give the password again")) end
    return account.name
  end
end

return names
