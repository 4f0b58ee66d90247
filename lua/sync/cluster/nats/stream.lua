--- A stream of JetStream, which `sync.cluster.nats` makes if it isn't there.
--
-- Its methods are called in an operation (see lua/sync/cluster/nats/operations.lua); they
-- wait, and end it when something is wrong.
-- @classmod sync.cluster.nats.stream

local Class = require "sync.class"
local Operations = require "sync.cluster.nats.operations"
local json = require "cjson.safe"
local natslibrary = require "sync.cluster.nats.library"
local timestamp = require "sync.timestamp"

local fail, failAs = Operations.fail, Operations.failAs

-- Codes of JetStream's errors.
local NOT_READY = {[10008] = true, [10009] = true}
local NO_STREAM, NO_MESSAGE, WRONG_SEQUENCE, NAME_TAKEN = 10059, 10037, 10071, 10058
local OVERLAP = 10065 -- of its subjects with another's, or with its own that another node makes now

-- A stream has `engine`, `name`, `subject` (what its messages' subjects begin with), `most`
-- (messages of each subject), `settings` (more of its configuration, in JSON), `replicas` (as
-- many as are tried) and, once it is ready, `epoch` (when it was made).
local Stream = Class:extend("NatsStream")

local function configuration(stream, replicas, maxAge)
  return ('{"name":"%s","subjects":["%s>"],"retention":"limits","storage":"memory",' ..
    '"max_consumers":-1,"max_msgs":-1,"max_bytes":-1,"max_age":%.0f,' ..
    '"max_msgs_per_subject":%d,"num_replicas":%d,%s}')
    :format(stream.name, stream.subject, maxAge, stream.most, replicas, stream.settings)
end

-- Makes it, with as many replicas as the cluster allows.
local function create(self, operation)
  local answer
  for replicas = self.replicas, 1, -1 do
    answer = self.engine:api(operation, "STREAM.CREATE", self.name,
      configuration(self, replicas, self.engine.settings.maxage * 1e9))
    local err = answer.error
    if not err or err.err_code == NAME_TAKEN or NOT_READY[err.err_code] then break end
  end
  return answer
end

-- Finds it, or makes it. Another node may do the same at the same time.
local function prepare(engine, operation, self)
  local wanted, hasOverlapped = self.most, false
  while true do
    local answer = engine:api(operation, "STREAM.INFO", self.name, "")
    if answer.error and answer.error.err_code == NO_STREAM then
      answer = create(self, operation)
    end
    local err = answer.error
    if not err then
      local found = answer.config
      if found.max_msgs_per_subject >= wanted then
        self.most = found.max_msgs_per_subject
        self.epoch = (answer.created:gsub("%D", "") .. ("0"):rep(23)):sub(1, 23)
        return true
      end
      answer = engine:api(operation, "STREAM.UPDATE", self.name,
        configuration(self, found.num_replicas, found.max_age))
      if answer.error and not NOT_READY[answer.error.err_code] then failAs(answer.error) end
    elseif err.err_code == OVERLAP and not hasOverlapped then
      hasOverlapped = true
    elseif not NOT_READY[err.err_code] and err.err_code ~= NAME_TAKEN then
      failAs(err)
    end
    if err or answer.error then engine:pause(operation) end
  end
end

-- Waits until it is ready. Operations go on in the order in which they came.
function Stream:need(operation)
  if self.ready then return end
  if not self.waiting then
    self.waiting = {}
    self.engine:launch(function(ok, why)
      local waiting = self.waiting
      self.waiting, self.ready = nil, ok
      for _, each in ipairs(waiting or {}) do self.engine:resume(each, ok, why) end
    end, prepare, self)
  end
  table.insert(self.waiting, operation)
  local ok, why = coroutine.yield()
  if not ok then fail(why) end
end

-- Publishes into it, once. Returns the sequence number, or nil when another has been quicker,
-- by what the headers expect. Nobody listens while the stream's leader is elected.
function Stream:put(operation, subject, bytes, headers)
  while true do
    self:need(operation)
    local status, text = self.engine:request(operation, subject, bytes, headers)
    local answer = status == "000" and json.decode(text)
    if status == "503" then
      self.ready = nil
      self.engine:pause(operation)
    elseif type(answer) ~= "table" then
      fail("NATS: " .. text)
    elseif not answer.error then
      return answer.seq
    elseif answer.error.err_code == WRONG_SEQUENCE then
      return nil
    else
      failAs(answer.error)
    end
  end
end

-- Reads a message, and when (seconds since 1970 of the server's clock) it was stored. Returns nil
-- when there is none.
function Stream:fetch(operation, what)
  while true do
    self:need(operation)
    local answer = self.engine:api(operation, "STREAM.MSG.GET", self.name, what)
    local err = answer.error
    if not err then
      local message = answer.message
      return {
        sequence = message.seq, time = timestamp.read(message.time),
        bytes = natslibrary.decode(message.data or ""),
        headers = message.hdrs and natslibrary.decode(message.hdrs) or "",
      }
    elseif err.err_code == NO_MESSAGE then
      return nil
    elseif err.err_code == NO_STREAM then
      self.ready = nil
    elseif NOT_READY[err.err_code] then
      self.engine:pause(operation)
    else
      failAs(err)
    end
  end
end

-- Deletes a message. Returns what JetStream says.
function Stream:delete(operation, sequence)
  return self.engine:api(operation, "STREAM.MSG.DELETE", self.name,
    ('{"seq":%.0f,"no_erase":true}'):format(sequence))
end

-- Deletes all messages of a subject but so many, the newest.
function Stream:cut(operation, subject, most)
  self.engine:api(operation, "STREAM.PURGE", self.name,
    ('{"filter":"%s","keep":%d}'):format(subject, most))
end

-- The connection is lost, and so may the stream be.
function Stream:forget()
  self.ready, self.waiting = nil, nil
end

return Stream
