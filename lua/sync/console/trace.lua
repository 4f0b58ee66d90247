--- The console's command `trace`: says each call of a handler, for a while. The handler is changed
-- in its class, and is as it was when that is over.
-- @module sync.console.trace

local console = require "sync.console"
local core = require "sync.core"
local declared = require "sync.declared"
local show = require "sync.console.show"
local task = require "sync.task"
local waits = require "sync.waits"

local now = core.C.sync_now

local SECONDS, MOST_SECONDS, MOST_LINES = 10, 600, 1000
local MOST_WORD = 200 -- bytes of an argument

local trace = {}

local server

--- Hands over what belongs to the server.
-- @tparam table functions `classes()`
function trace.attach(functions) server = functions end

-- The table that has a handler, and its key: of "Class:onData", "Class.remote:name" or
-- "Class GET /path".
local function find(name)
  local className, kind, key = name:match "^([^:.]+)([:.])(.+)$"
  if kind == "." then key = key:match "^remote:(.+)$" end
  for _, class in ipairs(server.classes()) do
    if class.className == className and key then
      local place = kind == "." and class.remote or class
      local entry = place and place[key]
      if type(entry) == "function" then return place, key, entry end
      if kind == "." and type(entry) == "table" and type(entry.fn) == "function" then
        return entry, "fn", entry.fn
      end
    end
  end
  console.refuse("there is no handler %q: Class:onData, Class.remote:name", name)
end

local function described(showsArguments, ...)
  if not showsArguments then return ("%d arguments"):format(select("#", ...)) end
  local words = {}
  for i = 1, select("#", ...) do
    words[i] = show((select(i, ...))):gsub("\n%s*", " "):sub(1, MOST_WORD)
  end
  return table.concat(words, ", ")
end

local function who(self)
  return type(self) == "table" and rawget(self, "id") and ("client %s"):format(tostring(self.id)) or
    tostring(self)
end

-- What stands in a handler's place.
local function traced(state, fn)
  local function told(self, began, text, ...)
    state.tell(("%s  %s  %.3f ms"):format(who(self), text, (now() - began) * 1000))
    return ...
  end
  local inner = declared[fn] or fn
  local function call(self, ...)
    local began = now()
    return told(self, began, described(state.showsArguments, ...), inner(self, ...))
  end
  return declared[fn] and waits.declare(call) or call
end

console.add("trace", "HANDLER [SECONDS] [arguments]", "each call of a handler, for a while",
  function(context, rest)
    local name, more = rest:match "^(%S+)%s*(.*)$"
    if not name then console.refuse("trace HANDLER: Class:onData, Class.remote:name") end
    local place, key, fn = find(name)
    local seconds = console.number(more:match "[%d.]+", SECONDS, MOST_SECONDS)
    local state = {lines = 0, showsArguments = more:find "arguments" ~= nil}
    function state.tell(text)
      state.lines = state.lines + 1
      if state.lines <= MOST_LINES then context.out("%s", text) end
    end
    local own, call = rawget(place, key), traced(state, fn)
    rawset(place, key, call)
    local ends = now() + seconds
    while now() < ends and state.lines < MOST_LINES and not context.isGone() do task.sleep(0.05) end
    if rawget(place, key) == call then rawset(place, key, own) end -- a reload has a new one
    context.out("%d calls in %.1f s", state.lines, seconds - math.max(0, ends - now()))
  end)

return trace
