-- Accounts in a database: names, and the hashes of their passwords. All of it waits.

local sync = require "sync"

local Accounts = sync.Class:extend("Accounts")

-- What is wrong with a name or a password; nil when nothing is.
function Accounts.problem(name, password)
  if type(name) ~= "string" or not name:find "^[%w_-]+$" or #name < 2 or #name > 16 then
    return "a name has 2 to 16 letters, digits, - or _"
  elseif type(password) ~= "string" or #password < 8 or #password > 200 then
    return "a password has 8 to 200 bytes"
  end
end

-- Returns the account, or nil, a status of HTTP and why. Ann and ann are one.
function Accounts:signUp(name, password)
  local problem = Accounts.problem(name, password)
  if problem then return nil, 400, problem end
  local hash = sync.password.hash(password)
  if not hash then return nil, 503, "too many sign up at once; try again in a moment" end
  local ok, failure = pcall(self.db.run, self.db,
    "insert into account (name, shown, hash) values (?, ?, ?)", name:lower(), name, hash)
  if ok then return {sub = name:lower(), name = name} end
  if type(failure) == "table" and failure.code == "unique" then
    return nil, 409, "this name is taken"
  end
  error(failure, 0)
end

-- The same. An unknown name takes as long as a wrong password, and says the same.
function Accounts:logIn(name, password)
  if Accounts.problem(name, password) then return nil, 401, "the name or the password is wrong" end
  local row = self.db:row("select shown, hash from account where name = ?", name:lower())
  local right, isOld = sync.password.verify(password, row and row.hash)
  if right == nil then return nil, 503, "too many log in at once; try again in a moment" end
  if not right then return nil, 401, "the name or the password is wrong" end
  local hash = isOld and sync.password.hash(password)
  if hash then self.db:run("update account set hash = ? where name = ?", hash, name:lower()) end
  return {sub = name:lower(), name = row.shown}
end

-- The account of a token's claims; nil when it's there no more.
function Accounts:find(claims)
  local shown = type(claims.sub) == "string" and
    self.db:value("select shown from account where name = ?", claims.sub)
  return shown and {sub = claims.sub, name = shown}
end

return Accounts
