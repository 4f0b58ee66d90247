-- An engine for a process of its own that is to be one node: it notes what is asked for.
--
--     local engine = require "spec.support.fakeengine"
--     sync.cluster:link(engine)

local engine = {topics = {}, count = 0, most = 0, maxTopics = 100000, published = 0,
  logs = {}, bytes = 0, mostBytes = 0, values = {}, sent = {}}

function engine:attach(handlers) self.handlers = handlers end

function engine.isUp() return true end
function engine.unsent() return 0 end
function engine.pair() end

function engine:publish(topic, bytes)
  self.published = self.published + 1
  if self.onPublish then self.onPublish(topic, bytes) end
  return true
end

function engine:subscribe(topic)
  if self.topics[topic] then return true end
  if self.count >= self.maxTopics then return false end
  self.topics[topic] = true
  self.count = self.count + 1
  self.most = math.max(self.most, self.count)
  return true
end

function engine.settle(_, done) done(true) end

function engine.guard(_, _, fn, ...) fn(...) end

function engine:unsubscribe(topic)
  if self.topics[topic] then self.count = self.count - 1 end
  self.topics[topic] = nil
end

local function tell(done, ...)
  if done then done(...) end
end

function engine.add(_, _, _, _, done) tell(done, true) end
function engine.expire(_, _, _, done) tell(done, true) end
function engine.remove(_, _, done) tell(done, true) end

-- Logs as Redis keeps them; nothing expires.
function engine:append(name, bytes, most, _, done)
  local log = self.logs[name] or {}
  self.logs[name] = log
  log[#log + 1] = bytes
  self.bytes = self.bytes + #name + #bytes
  while #log > most do self.bytes = self.bytes - #name - #table.remove(log, 1) end
  self.mostBytes = math.max(self.mostBytes, self.bytes)
  tell(done, tostring(#log))
end

function engine:read(name, after, _, done)
  local list = {}
  for i = (tonumber(after) or 0) + 1, #(self.logs[name] or {}) do
    list[#list + 1] = {id = tostring(i), bytes = self.logs[name][i]}
  end
  tell(done, list)
end

return engine
