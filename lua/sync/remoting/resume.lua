--- Clients that go away and come back: what `sync.Remote` does for a class with `resumeTime`.
-- What is kept for them is in lua/sync/remoting/session.lua.
--
-- A session lives in one process, unless the class has a session store, an object that keeps
-- sessions where other processes find them. A cluster gives its classes one. The store is asked
-- for:
--
--     prefix()                       what tokens of new sessions begin with
--     begin(client)                  a session has begun
--     goOn(client, told)             it goes on in the next process: what Session:pack has told
--     kept(session, text, event)     the session keeps a text, as its last: an event, or (nil)
--                                    what is for the client alone
--     joined(client, room), left(client, room)
--     stop(session)                  the client is back here: what is under way for it ends
--     finish(session)                the session has ended
--     take(client, token, received, done)  finds a session elsewhere; returns whether it looks.
--                                    `done` gets what was missed, or nil, and whether calls in
--                                    work were lost
--     forward(session, text)         sends to the client of a session that has moved
--
-- A store may set fields of a session: `isHeld` (what is sent is kept and not sent), `moving`
-- (it is on its way), `successor` (it has moved).
-- @module sync.remoting.resume

local Session = require "sync.remoting.session"
local auth = require "sync.auth"
local core = require "sync.core"
local loop = require "sync.loop"
local try = require "sync.remoting.try"

local resume = {}

local now = core.C.sync_now

local TOKEN_BYTES = 16
-- A connection that ended so was not ended on purpose, and its client may come back.
local MAY_RETURN = {left = true, reset = true, silent = true, timeout = true, idle = true,
  full = true}

local function greet(self, session)
  self:transmitNow(self._wire.request(nil, "sync.session",
    {token = session.token, time = self.resumeTime}))
end

-- What bounds the sessions of a listener. What is kept is sent at once, by half of a queue.
local function boundsOf(self, listener)
  local value, messages, queue = self.resumeBytes, self.resumeMessages, listener.settings.maxQueue
  local known = listener.sessionBounds
  if known and known.of == value and known.messages == messages then return known end
  local isQueue = queue / 2 < value
  known = {of = value, messages = messages, bytes = isQueue and queue / 2 or value,
    setting = isQueue and "maxQueue" or "resumeBytes", value = isQueue and queue or value}
  listener.sessionBounds = known
  return known
end

--- Begins a client's session, or goes on with what it was in the process before.
-- @tparam sync.Remote self
-- @tparam sync.Listener listener
-- @tparam[opt] table told of `clients.pack`, in lua/sync/upgrade/clients.lua
function resume.begin(self, listener, told)
  local store, before = self.sessionStore, told and told.session
  local token = before and before.token or core.randomHex(TOKEN_BYTES)
  if store and not before then token = store:prefix() .. token end
  local group = self.sessionGroup
  group.most, group.time = self.resumeTotal, self.resumeTime
  local session = Session.new(group, token, boundsOf(self, listener), not before and store)
  self._session = session
  self.sessions[token] = self
  if store and not before then store:begin(self) end
  self.clients:remember()
  if before then
    session:unpack(before, told.history)
  else
    greet(self, session)
  end
end

--- A session of the process before, whose client is what it was: the store, which knows it, is
-- told from now on.
-- @tparam sync.Remote self
-- @tparam table told of `Session:pack`
function resume.goOn(self, told)
  local store = self.sessionStore
  if not store then return end
  self._session.store = store
  store:goOn(self, told)
end

--- Ends it.
function resume.finish(self)
  local session = self._session
  self.sessions[session.token] = nil
  if session.store then session.store:finish(session) end
  session:finish()
end

--- Sends a text that counts; that of an event goes to a whole set. A client that is away gets
-- the text when it is back; one that has come back to another node gets it from there.
function resume.transmit(self, text, event)
  local session = self._session
  if session.successor then return session.store:forward(session, text) end
  if session.away or session.isHeld then
    session:keep(text, event)
    return true
  end
  local ok, why = self:transmitNow(text)
  if why ~= "dropped" and why ~= "too long" then session:keep(text, event) end
  return ok, why
end

-- Takes the client out of its sets. They remember it, if `absent`.
local function leaveSets(self, absent)
  local membership = self._membership
  if membership and absent then membership:suspend() elseif membership then membership:part() end
  self.clients:remove(self)
  if absent then self.clients:remember(self) end
  for _, room in pairs(self.joined and self.joined.rooms or {}) do
    room:remove(self)
    if absent then room:remember(self) end
  end
end

local function enterSets(self)
  if self._membership then self._membership:resume() end
  self.clients:forget(self)
  self.clients:add(self)
  for _, room in pairs(self.joined and self.joined.rooms or {}) do
    room:forget(self)
    room:add(self)
  end
end

local function startAbsence(self, seconds)
  local session, class = self._session, getmetatable(self)
  session.away = loop.startTimer(seconds, 0, function() resume.expire(self) end)
  session.awayUntil = now() + seconds
  class.awayCount = class.awayCount + 1
  loop.away[self] = true
end

--- A client of the process before is away here, too.
-- @tparam sync.Remote self
-- @tparam table told of `Session:pack`
function resume.absent(self, told)
  self.clients:remember(self)
  startAbsence(self, math.max(told.awayUntil - now(), 0.001))
end

--- One that is away is in a room.
function resume.rejoin(self, name, value)
  self.joined = self.joined or {count = 0, rooms = {}}
  local joined = self.joined
  joined.rooms[name], joined.count = self:room(name), joined.count + 1
  if value ~= nil then
    joined.values = joined.values or {}
    joined.values[name] = value
  end
  joined.rooms[name]:remember(self)
  local channel = joined.rooms[name].channel
  if channel then channel:hear() end
end

-- The client is away no more.
local function endAbsence(self)
  local session, class = self._session, getmetatable(self)
  loop.stopTimer(session.away)
  session.away, session.awayUntil = false, nil
  loop.away[self] = nil
  class.awayCount = class.awayCount - 1
end

--- A client that is away does not come back, or may not.
-- @tparam sync.Remote self
-- @tparam[opt] string reason nil: why it has gone
function resume.expire(self, reason)
  local session = self._session
  endAbsence(self)
  self.clients:forget(self)
  local joined = self.joined
  for _, room in pairs(joined and joined.rooms or {}) do room:forget(self) end
  self.joined = nil
  self.closing = reason or session.reason
  loop.closed(self, self.closing, session.code)
end

--- The connection has ended. While a session is on its way here from another node, the way back
-- is there.
-- @treturn boolean whether the client is kept for a while, though onAway may have ended that
function resume.suspend(self, reason, code)
  local session, class = self._session, getmetatable(self)
  if not session or session.moving or not self.resumeTime or not MAY_RETURN[reason] or
    code == 1000 or loop.isStopping() or class.awayCount >= self.maxAway then
    return false
  end
  startAbsence(self, self.resumeTime)
  leaveSets(self, true)
  self.slot = 0
  session.reason, session.code = reason, code
  try("onAway", self, self.onAway, self)
  return true
end

--- Makes sure that an instance has no connection: one that is broken, unnoticed, is given up.
-- @treturn boolean whether the session lasts, which onAway may have ended
function resume.release(self)
  if not self._session.away then
    loop.detach(self)
    if not self:suspend("reset") then
      leaveSets(self)
      self.slot, self.joined, self.closing = 0, nil, "reset"
      loop.closed(self, "reset")
    end
  end
  return self._session.away ~= false
end

-- Gives the connection of one instance to another, which was away.
local function takeOver(self, newcomer)
  local slot, session = newcomer.slot, self._session
  leaveSets(newcomer)
  newcomer.joined = nil
  newcomer.slot = 0
  newcomer.closing = "resumed"
  self.slot, self.closing = slot, false
  self.address, self.port, self.transport = newcomer.address, newcomer.port, newcomer.transport
  loop.seat(self, slot)
  endAbsence(self)
  if session.store then session.store:stop(session) end
  enterSets(self)
end

-- Does not count, so the answer goes past `transmit`.
local function answer(self, id, result)
  if id ~= nil then self:transmitNow(self._wire.result(id, result)) end
end

-- Calls onResume, unless a function that was called on the way has closed the client.
local function resumed(self)
  if self.closing then return end
  if not try("onResume", self, self.onResume, self) then self:close("error") end
end

-- The session may be another node's. Returns whether that is asked.
local function resumeElsewhere(newcomer, token, received, id)
  local store = newcomer._session.store
  if not store then return false end
  return store:take(newcomer, token, received, function(missed, isRebuilt)
    if not missed then return answer(newcomer, id, {resumed = false}) end
    answer(newcomer, id, {resumed = true, missed = #missed, callsLost = isRebuilt or nil})
    for _, text in ipairs(missed) do newcomer:transmitNow(text) end
    greet(newcomer, newcomer._session)
    resumed(newcomer)
  end)
end

-- Whether an instance has no connection, and is what a client with so many messages was.
-- One that can't be ends.
local function fits(self, newcomer, received)
  if not resume.release(self) then return false end
  local session = self._session
  if newcomer._wire == self._wire and session:reaches(received) then return true end
  resume.expire(self)
  return false
end

-- Answers by itself. What `fits` and `loop.closed` call may close either side, and send.
local function comeBack(newcomer, token, received, id)
  local self = newcomer.sessions[token]
  if not self and resumeElsewhere(newcomer, token, received, id) then return end
  if self and not auth.isSame(self.user, newcomer.user) then self = nil end
  if not self or self == newcomer or self.closing or newcomer._session.moving or
    not fits(self, newcomer, received) then
    return answer(newcomer, id, {resumed = false})
  end
  if newcomer.closing then return end -- its place is no longer to be had
  takeOver(self, newcomer)
  local session = self._session
  answer(self, id, {resumed = true, missed = session.last - received})
  for number = received + 1, session.last do self:transmitNow(session:text(number)) end
  loop.closed(newcomer, "resumed")
  resumed(self)
end

--- A client asks for its session: `sync.resume`.
-- @return as functions of `Rpc.own`
function resume.asked(self, params, id)
  if not self._session then return true, {resumed = false} end
  local token, received
  if type(params) == "table" then token, received = params[1], params[2] end
  if type(token) ~= "string" or type(received) ~= "number" or received % 1 ~= 0 then
    return answer(self, id, {resumed = false})
  end
  return comeBack(self, token, received, id)
end

return resume
