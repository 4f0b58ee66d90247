--- Operations of `sync.cluster.nats`: coroutines, each of which asks JetStream one thing after the
-- other.
--
-- An operation is a table with `done`, `deadline`, `thread`, `request` (the number of what it
-- waits for), `over` and, of a question that does nothing, `question` (its frame) and `again` (when
-- it is asked again). Methods that get one are called in its coroutine; they wait, and end
-- it when something is wrong. The engine has `operations` (a set), `operationCount`, `asked`
-- (operations by number) and `lastRequest`.
-- @module sync.cluster.nats.operations

local Reconnecting = require "sync.cluster.reconnecting"
local core = require "sync.core"
local json = require "cjson.safe"
local log = require "sync.log"
local loop = require "sync.loop"
local natswire = require "sync.cluster.nats.wire"
local task = require "sync.task"

local now = core.C.sync_now

local number32 = natswire.number32

local NO_JETSTREAM = "the NATS server has no JetStream: start it with -js"
-- Codes of JetStream's errors.
local NOT_ENABLED, NOT_ENABLED_FOR_ACCOUNT = 10076, 10039

local PAUSE = 0.25 -- until a server that isn't ready is asked again

-- Seconds until a question is asked again. Of servers that are a cluster only the one answers that
-- leads; while they elect it, none does.
local AGAIN = 1

local Operations = Reconnecting:extend("NatsOperations")
Operations.kind = "NATS"

--- Seconds that an operation may take.
Operations.timeLimit = 5

-- A number by which the server's answer is known.
function Operations:nextRequest(operation)
  repeat
    self.lastRequest = self.lastRequest % 0xffffffff + 1
  until not self.asked[self.lastRequest]
  self.asked[self.lastRequest] = operation
  operation.request = self.lastRequest
  return self.lastRequest
end

local function finish(self, operation, ...)
  if operation.over then return end
  operation.over = true
  self.operations[operation] = nil
  self.operationCount = self.operationCount - 1
  if operation.request then self.asked[operation.request] = nil end
  if operation.done then self:guard("an answer", operation.done, ...) end
end

-- Ends the operation in which it is called. What is raised is a table with `why`.
function Operations.fail(why) error({why = why}, 0) end

local fail = Operations.fail

-- The same with an error of JetStream.
function Operations.failAs(err)
  local code = err.err_code
  if code == NOT_ENABLED or code == NOT_ENABLED_FOR_ACCOUNT then fail(NO_JETSTREAM) end
  fail("NATS: " .. tostring(err.description))
end

local function continued(self, operation, ok, ...)
  if not ok then
    local raised = ...
    local why = type(raised) == "table" and raised.why
    if not why then
      why = "internal error"
      log.limited("error", "nats", "NATS: " .. debug.traceback(operation.thread, tostring(raised)))
    end
    finish(self, operation, nil, why)
  elseif coroutine.status(operation.thread) == "dead" then
    finish(self, operation, ...)
  end
end

-- Goes on with what the operation has waited for.
function Operations:resume(operation, ...)
  if operation.renewed then return operation.renewed() end
  if operation.over then return end
  operation.request, operation.question = nil, nil
  continued(self, operation, coroutine.resume(operation.thread, ...))
end

-- Runs body(self, operation, ...); what it returns goes to `done`.
function Operations:launch(done, body, ...)
  local operation = {done = done, deadline = now() + self.timeLimit}
  operation.thread = task.thread(body)
  self.operations[operation] = true
  self.operationCount = self.operationCount + 1
  self:resume(operation, self, operation, ...)
end

-- The same, within the bound.
function Operations:start(done, body, ...)
  if not self.up then return self:tellLater(done, nil, "away") end
  if self.operationCount >= self.maxPending then return self:tellLater(done, nil, "busy") end
  self:launch(done, body, ...)
end

-- Ends those for which the test holds. The answers may begin others.
local function failThose(self, why, test)
  local over = {}
  for operation in pairs(self.operations) do
    if test(operation) then over[#over + 1] = operation end
  end
  for _, operation in ipairs(over) do finish(self, operation, nil, why) end
end

function Operations:failOperations(why)
  failThose(self, why, function() return true end)
  self.asked = {}
end

function Operations:expireOperations(time)
  if self.operationCount == 0 then return end
  failThose(self, "timeout", function(operation) return operation.deadline <= time end)
end

--- Asks again what nobody has answered; of two answers the second has no number any more.
function Operations:askAgain(time)
  if not self.up then return end
  for operation in pairs(self.operations) do
    if operation.question and operation.again <= time then
      operation.again = time + AGAIN
      self.link:send(operation.question)
    end
  end
end

-- Publishes a request, and waits for the answer's status and bytes.
-- @tparam boolean isQuestion it may be asked twice
function Operations:request(operation, subject, body, headers, isQuestion)
  local request = self:nextRequest(operation)
  local frame = "R" .. number32(request) .. subject .. "\0" .. (headers or "") .. "\0" .. body
  local ok, why = self.link:send(frame)
  if not ok and why ~= "full" then fail "busy" end
  if isQuestion then operation.question, operation.again = frame, now() + AGAIN end
  return coroutine.yield()
end

function Operations:pause(operation)
  loop.startTimer(PAUSE, 0, function() self:resume(operation) end)
  coroutine.yield()
end

-- What JetStream may be asked twice: it does nothing, or the second time nothing more.
local QUESTIONS = {["STREAM.INFO"] = true, ["STREAM.CREATE"] = true, ["STREAM.UPDATE"] = true,
  ["STREAM.MSG.GET"] = true, ["STREAM.PURGE"] = true}

-- Asks JetStream for something of a stream. Returns what it says, a table.
function Operations:api(operation, what, stream, body)
  local status, text = self:request(operation, ("$JS.API.%s.%s"):format(what, stream), body, nil,
    QUESTIONS[what])
  if status == "503" then fail(NO_JETSTREAM) end
  if status == "413" then fail("NATS: an answer is too long") end
  local answer = json.decode(text)
  if type(answer) ~= "table" then fail("NATS does not answer as it should: " .. text) end
  return answer
end

return Operations
