--- What a client of `sync.connect` asks of its server: calls that wait for their answers, and
-- messages that wait for a connection. Both are bounded, and a call ends by an answer, by its time
-- limit, or by what the client says of its connection.
-- @classmod sync.remoting.client.requests

local core = require "sync.core"
local failure = require "sync.remoting.client.failure"
local json = require "sync.remoting.json"
local loop = require "sync.loop"
local null = require "cjson".null
local try = require "sync.remoting.try"

local now = core.C.sync_now

local Requests = {}
Requests.__index = Requests

--- Makes those of a client, of which there are none.
-- @tparam table settings
-- @tparam table client whose `state` says whether its `link` can send
function Requests.new(settings, client)
  return setmetatable({
    settings = settings, client = client,
    wire = settings.encoding == "amf3" and require "sync.flash.wire" or json,
    pending = {}, count = 0, lastId = 0,
    queue = {}, first = 1, last = 0, -- what waits for a connection
    late = {}, lateCount = 0,        -- what is done with answers that nobody waits for any more
  }, Requests)
end

-- Answers.

-- Ends the waiting for an answer. Returns the call, or nil.
local function settle(self, id)
  local call = self.pending[id]
  if not call then return nil end
  self.pending[id] = nil
  self.count = self.count - 1
  if call.timer then loop.stopTimer(call.timer) end
  return call
end

local function tell(call, result, err)
  try("the answer to " .. call.name, nil, call.done, result, err)
end

-- The server may carry a call out that nobody here waits for any more.
local function expectLate(self, id, call)
  if not (call.late and call.sent) or self.lateCount >= self.settings.pendingLimit then return end
  self.late[id], self.lateCount = call.late, self.lateCount + 1
end

local function fail(self, id, code, message)
  local call = settle(self, id)
  if not call then return end
  expectLate(self, id, call)
  tell(call, nil, failure(code, call.name .. ": " .. message))
end

local function takeLate(self, id, result)
  local late = self.late[id]
  if not late then return end
  self.late[id], self.lateCount = nil, self.lateCount - 1
  late(result)
end

--- An answer has come.
function Requests:answered(id, result, err)
  local call = settle(self, id)
  if result == null then result = nil end
  if not call then return takeLate(self, id, result) end
  if type(err) == "table" then
    tell(call, nil, failure(err.code, tostring(err.message), err.data))
  else
    tell(call, result)
  end
end

-- Fails the calls for which a field is true. Who is told may call again, which adds one.
local function failWhich(self, field, code, message)
  local ids = {}
  for id, call in pairs(self.pending) do
    if call[field] then ids[#ids + 1] = id end
  end
  for _, id in ipairs(ids) do fail(self, id, code, message) end
end

--- Fails the calls that were sent: their answers won't come.
function Requests:failSent(message)
  failWhich(self, "sent", "disconnected", message)
end

--- The session goes on. If the calls that were sent are lost, only answers among the missed
-- messages still come.
function Requests:markSent(areLost)
  for _, call in pairs(self.pending) do call.lost = areLost and call.sent end
end

--- Fails the calls that were marked as lost.
function Requests:failLost(message)
  failWhich(self, "lost", "disconnected", message)
end

--- A session begins: what was sent to the one before is lost.
function Requests:begin(message)
  self:failSent(message)
  self.late, self.lateCount = {}, 0
end

--- Nothing is sent any more.
function Requests:close(message)
  self.queue, self.first, self.last = {}, 1, 0
  failWhich(self, "name", "closed", message)
  self.late, self.lateCount = {}, 0
end

-- Sending.

-- Sends a message now. Returns nil, or a code and why it can't be.
local function transmit(self, text)
  local ok, why = self.client.link:send(text)
  if ok or why == "full" then return nil end
  return "full", "the connection takes no more: " .. why
end

-- Takes out of the queue what has waited too long.
local function prune(self)
  local kept, last = {}, 0
  for i = self.first, self.last do
    local entry = self.queue[i]
    if entry.id and self.pending[entry.id] or not entry.id and entry.expires > now() then
      last = last + 1
      kept[last] = entry
    end
  end
  self.queue, self.first, self.last = kept, 1, last
end

-- Sends a message, or queues it. Returns nil, or a code and why it does neither.
local function sendOrQueue(self, text, id, timeout, offline)
  local state = self.client.state
  if state == "closed" then return "closed", "the client is closed" end
  if state == "open" then return transmit(self, text) end
  if offline == "refuse" then return "offline", "there is no connection" end
  prune(self)
  if self.last - self.first + 1 >= self.settings.queueLimit then
    return "full", "too many calls wait for a connection"
  end
  self.last = self.last + 1
  self.queue[self.last] = {text = text, id = id, expires = now() + (timeout or math.huge)}
  return nil
end

--- There is a connection: sends what has waited for it.
function Requests:flush()
  prune(self)
  while self.first <= self.last and self.client.state == "open" do
    local entry = self.queue[self.first]
    self.queue[self.first] = nil
    self.first = self.first + 1
    local call = entry.id and self.pending[entry.id]
    if call then call.sent = true end
    local code, why = transmit(self, entry.text)
    if code and entry.id then fail(self, entry.id, code, why) end
  end
end

-- Returns the text of a request; the error is about the arguments of the caller's caller.
local function compose(self, id, name, arguments)
  if type(name) ~= "string" then
    error("a function's name must be a string, not " .. type(name), 4)
  end
  local wire = self.wire
  local text, problem, argument
  if arguments.named then
    text, problem, argument = wire.named(id, name, arguments.named)
  else
    text, problem, argument = wire.request(id, name, unpack(arguments, 1, arguments.n))
  end
  if not text then
    local where = argument and argument > 0 and "argument " .. argument or
      argument and "the name" or "the arguments"
    error(("%s: %s: %s"):format(name, where, problem), 4)
  end
  return text
end

--- Calls a function of the server.
-- @tparam string name
-- @tparam table arguments by position, `n` of them; or by name, in `named`
-- @tparam function done called with the result, or with nil and an error
-- @tparam[opt] table ways `timeout` and `offline` instead of the settings', and `late`: called
-- with the result that comes when `done` was told that none would
-- @raise for the line that has called the caller
function Requests:call(name, arguments, done, ways)
  local id, timeout = self.lastId + 1, ways and ways.timeout or self.settings.timeout
  local text = compose(self, id, name, arguments)
  self.lastId = id
  local call = {name = name, done = done, late = ways and ways.late,
    sent = self.client.state == "open"}
  if self.count >= self.settings.pendingLimit then
    return tell(call, nil, failure("full", name .. ": too many calls wait for answers"))
  end
  self.pending[id] = call
  self.count = self.count + 1
  if timeout and timeout > 0 then
    call.timer = loop.startTimer(timeout, 0, function()
      fail(self, id, "timeout", ("no answer in %g s"):format(timeout))
    end)
  end
  local code, why = sendOrQueue(self, text, id, timeout,
    ways and ways.offline or self.settings.offline)
  if code then fail(self, id, code, why) end
end

--- Calls a function of the server without an answer.
-- @treturn string|nil nil, or a code that says why it was neither sent nor queued
-- @raise for the line that has called the caller
function Requests:notify(name, arguments)
  local text = compose(self, nil, name, arguments)
  return (sendOrQueue(self, text, nil, self.settings.timeout, self.settings.offline))
end

--- Calls a function with parameters by name.
-- @tparam string name
-- @tparam table params
-- @tparam function done
-- @tparam[opt] function late
function Requests:askNamed(name, params, done, late)
  self:call(name, {named = params}, done, {late = late})
end

--- The same without an answer, and not later.
-- @treturn boolean whether it was sent
function Requests:tellNamed(name, params)
  return sendOrQueue(self, compose(self, nil, name, {named = params}), nil, nil, "refuse") == nil
end

return Requests
