--- Who a client is: tokens at the handshake, or by the first call.
--
--     Game.auth = sync.jwt.auth {algorithm = "HS256", key = secret}
--
-- A class with `auth` lets nobody in without a token. A WebSocket gives it in its handshake: by
-- the header Authorization, or, as pages can't set one, by a subprotocol, `sync.token.TOKEN`
-- beside `sync.auth`. Else a client of sync.Remote calls `sync.auth` first. Before that it's in
-- no set, and nothing else of it is taken. `client.user` is then what `auth` has returned.
--
-- When the token's time is over, the client is closed, unless it has called `sync.auth` again with
-- another. No text here has anything of a token.
-- @module sync.auth

local core = require "sync.core"
local log = require "sync.log"
local loop = require "sync.loop"

local LONGEST = 16 * 1024  -- bytes of a token
local EVERY = 5            -- seconds, in which tokens that have ended are looked for

local auth = {
  --- What a WebSocket is closed with: its token isn't right, or has ended; or its user may not.
  UNAUTHORIZED = 4401,
  FORBIDDEN = 4403,
  --- Or nobody can say at present, as the keys of tokens are away: the client may try again.
  TRY_AGAIN = 1013,
  --- The subprotocol that a client offers which gives its token by another, with this before it.
  SUBPROTOCOL = "sync.auth",
}

local TOKEN = "sync.token."
local STATUSES = {[403] = 403, [503] = 503}

--- Finds the token of a request. One among the subprotocols is taken out, so that nobody shows it
-- by chance.
-- @treturn string|nil
function auth.tokenOf(request)
  local headers, rest, token = request.headers, {}, nil
  for name in (headers["sec-websocket-protocol"] or ""):gmatch("[^%s,]+") do
    if name:sub(1, #TOKEN) == TOKEN then
      token = token or name:sub(#TOKEN + 1)
    else
      rest[#rest + 1] = name
    end
  end
  if token then headers["sec-websocket-protocol"] = table.concat(rest, ", ") end
  return token or (headers.authorization or ""):match("^[Bb]earer +(%S+)%s*$")
end

--- Whether a handshake is a page's, or of another client that sees no status.
function auth.isPage(request)
  if request.origin then return true end
  for name in (request.headers["sec-websocket-protocol"] or ""):gmatch("[^%s,]+") do
    if name == auth.SUBPROTOCOL then return true end
  end
  return false
end

--- Asks a class whose token it is; in a function that may wait.
-- @treturn table|nil the user, or nil
-- @treturn number|string|nil when the user's time ends, or why there is none
-- @treturn number 401, 403, or 503: nobody can say at present
function auth.ask(class, token, request)
  if type(token) ~= "string" or token == "" or #token > LONGEST then
    return nil, "there is no token", 401
  end
  local user, more, status = class.auth(token, request)
  if user then
    if type(user) ~= "table" then
      error(class.className .. ".auth: a user must be a table, not " .. type(user), 0)
    end
    return user, type(more) == "number" and more or nil
  end
  return nil, type(more) == "string" and more or "the token was refused", STATUSES[status] or 401
end

--- Looks for the token of a handshake; its user becomes `request.user`.
-- @treturn number|nil the status of a refusal; nil when the class may be asked what it thinks
-- @treturn string why
function auth.handshake(class, request)
  if not class.auth then return nil end
  local token = auth.tokenOf(request)
  if not token and class.remote then return nil end -- it may call sync.auth
  local user, more, status = auth.ask(class, token, request)
  if not user then return status, more end
  request.user, request.userEnds = user, more
end

-- Clients whose tokens end, in sets by the time; those that have gone are no more than garbage.
local ends, timer = {}, nil

local function look()
  local now = os.time()
  if loop.count == 0 then ends = {} end -- a process may have nothing else to wait for
  for slot, set in pairs(ends) do
    if slot * EVERY <= now then
      ends[slot] = nil
      for client, time in pairs(set) do
        if client._userEnds == time and not client.closing then
          loop.guard("the end of a token", client.close, client, "unauthorized",
            auth.UNAUTHORIZED)
        end
      end
    end
  end
  if next(ends) == nil then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- A client is this user's from now on.
-- @tparam table client
-- @tparam table user
-- @tparam number|nil time when that ends
function auth.give(client, user, time)
  client.user, client._userEnds = user, time or false
  if not time or time >= 2 ^ 40 then return end
  local slot = math.floor(time / EVERY) + 1
  local set = ends[slot]
  if not set then
    set = setmetatable({}, {__mode = "k"})
    ends[slot] = set
  end
  set[client] = time
  timer = timer or loop.startTimer(EVERY, EVERY, look)
end

local function identity(user)
  if type(user) ~= "table" then return nil end
  if user.id ~= nil then return user.id end
  return user.sub
end

--- Whether two users are one: they have the same `id`, or else the same `sub`.
function auth.isSame(a, b)
  if a == nil and b == nil then return true end
  local id = identity(a)
  return id ~= nil and id == identity(b)
end

--- Tells the log, and counts as a failure of the address, that a token was refused.
function auth.refused(class, why, address, slot)
  if slot then core.C.sync_fail(core.handle, slot) end
  log.limited("info", "auth", ("a client of %s was refused: %s"):format(class.className, why),
    {address = address})
end

return auth
