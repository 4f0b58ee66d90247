--- What an engine of a server hears and is asked for while a process goes on in the next one
-- (docs/upgrade.md): it's kept here, for one of the two.
--
--     the old process:  still ─► go (it doesn't go on, or release: it does)
--     the next one:     begin ─► goOn
--
-- The next one hears all topics before the old one ends to. So both have what comes meanwhile, and
-- the numbers of streams tell which of it the old one has handled.
-- @module sync.cluster.held

local log = require "sync.log"

local MOST_HEARD = 64 * 1024 * 1024 -- bytes of messages: then there is no hand-over

local held = {}

local function keep(self, topic, bytes)
  self.list[#self.list + 1] = {topic, bytes}
  self.bytes = self.bytes + #bytes
  if self.bytes > MOST_HEARD then self.problem = "other nodes send more than can be kept" end
end

-- Puts something in the place of what an engine does, until `restore`.
local function replace(self, name, value)
  self.before[name] = rawget(self.engine, name) or false
  self.engine[name] = value
end

local function restore(self)
  for name, value in pairs(self.before) do self.engine[name] = value or nil end
end

-- Keeps what an engine hears.
local function new(engine)
  local self = {engine = engine, before = {}, handlers = engine.handlers,
    list = {}, bytes = 0,  -- messages
    words = {},            -- functions by topic, of what isn't for nodes
    calls = {}, unsent = 0, -- what the engine is asked for
    said = 0,              -- how often it was asked for something
    problem = false}       -- why there can be no hand-over
  local handlers = {
    onMessage = function(topic, bytes)
      local word = self.words[topic]
      if word then word(bytes) else keep(self, topic, bytes) end
    end,
    onDown = function(why) self.problem = "the connection to the engine is lost: " .. why end,
  }
  replace(self, "handlers", handlers)
  return self
end

-- Tells who uses the engine what it has heard.
local function tell(self)
  local engine = self.engine
  for _, message in ipairs(self.list) do engine:tell("onMessage", message[1], message[2]) end
end

-- The old process.

--- Keeps what is heard, and counts in `said` what is asked for.
-- @tparam sync.cluster.engine engine
-- @treturn table with `said` and `problem`
function held.still(engine)
  local self = new(engine)
  for _, name in ipairs {"carry", "ask"} do
    local does = engine[name]
    replace(self, name, function(...)
      self.said = self.said + 1
      return does(...)
    end)
  end
  return self
end

--- This process goes on.
function held.release(self)
  restore(self)
  if self.problem and not self.engine:isUp() then self.engine:tell("onDown", self.problem) end
  tell(self)
end

-- The next process.

--- Keeps what is heard and asked for until this process goes on; it connects, and hears topics.
-- @tparam sync.cluster.engine engine
-- @treturn table with `words` and `problem`
function held.begin(engine)
  local self = new(engine)
  replace(self, "attach", function(_, handlers) self.handlers = handlers end)
  replace(self, "carry", function(_, topic, bytes)
    if self.unsent + #bytes > engine.maxBuffer then
      return engine:drop(1, "too many wait until this process goes on")
    end
    self.unsent = self.unsent + #bytes
    self.calls[#self.calls + 1] = {"carry", 2, topic, bytes}
    return true
  end)
  replace(self, "ask", function(_, name, done, ...)
    self.said = self.said + 1
    if self.said > engine.maxPending then return engine:tellLater(done, nil, "busy") end
    self.calls[#self.calls + 1] = {"ask", 2 + select("#", ...), name, done, ...}
  end)
  return self
end

--- This process goes on.
function held.goOn(self)
  restore(self)
  local engine = self.engine
  engine.handlers = self.handlers
  if self.problem then log.warn("upgrade: " .. self.problem) end
  tell(self)
  for _, call in ipairs(self.calls) do
    engine[call[1]](engine, unpack(call, 3, 2 + call[2]))
  end
end

return held
