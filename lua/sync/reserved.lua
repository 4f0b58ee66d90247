--- The names that a client takes for itself: its own fields, and the methods of its class.
--
-- A field of the same name hides them: after `self.room = 100` there is no `self:room()`. To look
-- at each assignment would cost every client, so the code of a class is looked at once, when it is
-- enabled: what its methods assign to `self` is told with its line.
-- @module sync.reserved

local bit = require "bit"
local declared = require "sync.declared"
local jutil = require "jit.util"
-- What the instructions are called. A LuaJIT without its own modules has none: then nothing is
-- found.
local hasNames, vmdef = pcall(require, "jit.vmdef")


local reserved = {}

-- Of each client; and what sync.Remote adds.
local FIELDS = {"id", "address", "port", "transport", "clients", "className", "slot", "closing",
  "joined", "underWay", "departure",
  "inHand", "isAtDoor"}
local KNOWN = {"user", "userEnds"} -- where a class has auth
local REMOTE = {"session", "wire", "mirrors", "calls", "callCount", "lastCall", "owed",
  "allowances"}

-- Where this library's own modules lie.
local ROOT = debug.getinfo(1, "S").source:gsub("reserved%.lua$", "")

--- Whether code of a source is this library's.
-- @tparam string source as debug.getinfo gives it
function reserved.isOurs(source)
  return source:sub(1, #ROOT) == ROOT
end

local function isOwnFunction(fn)
  fn = declared[fn] or fn
  return type(fn) == "function" and reserved.isOurs(debug.getinfo(fn, "S").source)
end

--- The names that clients of a class take, as keys.
-- @treturn table
function reserved.names(class)
  local names = {}
  for _, name in ipairs(FIELDS) do names[name] = true end
  if class.auth then
    for _, name in ipairs(KNOWN) do names[name] = true end
  end
  if class.remote then
    for _, name in ipairs(REMOTE) do names[name] = true end
  end
  local level = class
  while level do
    for name, value in pairs(level) do
      if type(name) == "string" and not name:find("^on%u") and not name:find("^__") and
        isOwnFunction(value) then
        names[name] = true
      end
    end
    level = rawget(level, "super")
  end
  return names
end

--- The methods that a client's fields hide.
-- @treturn string|nil the first one's name
function reserved.hidden(client)
  local class = getmetatable(client)
  for name in pairs(client) do
    if type(name) == "string" and isOwnFunction(class[name]) and not name:find("^on%u") then
      return name
    end
  end
end

local function opcode(name)
  return hasNames and (vmdef.bcnames:find((name .. "      "):sub(1, 6), 1, true) - 1) / 6
end
local SET_FIELD, GET_UPVALUE, NEW_FUNCTION = opcode "TSETS", opcode "UGET", opcode "FNEW"

-- Calls `visit(name, line)` for what a function, and those within it, assign to fields of what is
-- called self: its first parameter, or a variable of a function around it.
local function eachField(fn, hasSelf, visit)
  local fromUpvalue = {}
  for pc = 1, jutil.funcinfo(fn).bytecodes - 1 do
    local instruction = jutil.funcbc(fn, pc)
    local op = bit.band(instruction, 255)
    local a, high = bit.band(bit.rshift(instruction, 8), 255), bit.rshift(instruction, 16)
    local b, c = bit.rshift(high, 8), bit.band(high, 255)
    if op == SET_FIELD then
      if hasSelf and b == 0 or fromUpvalue[b] then
        visit(jutil.funck(fn, -c - 1), jutil.funcinfo(fn, pc).currentline)
      end
    else
      fromUpvalue[a] = op == GET_UPVALUE and jutil.funcuvname(fn, high) == "self" or nil
      if op == NEW_FUNCTION then eachField(jutil.funck(fn, -high - 1), false, visit) end
    end
  end
end

-- The functions that a class has of its user, and the names of the classes that they are of.
local function ownFunctions(class)
  local functions = {}
  local function add(level, fn)
    fn = declared[fn] or fn
    if type(fn) == "function" and not isOwnFunction(fn) and
      debug.getinfo(fn, "S").what == "Lua" then
      functions[fn] = level.className
    end
  end
  local level = class
  while level do
    for _, value in pairs(level) do add(level, value) end
    for _, entry in pairs(rawget(level, "remote") or {}) do
      add(level, type(entry) == "table" and entry.fn or entry)
    end
    level = rawget(level, "super")
  end
  return functions
end

--- What the functions of a class assign to names that its clients take.
-- @treturn table a list of {name, file, line, class's name}, in order
function reserved.assignments(class)
  local names, list = reserved.names(class), {}
  if not hasNames then return list end
  for fn, className in pairs(ownFunctions(class)) do
    local info = debug.getinfo(fn, "S")
    eachField(fn, debug.getlocal(fn, 1) == "self", function(name, line)
      if names[name] then list[#list + 1] = {name, info.short_src, line, className} end
    end)
  end
  table.sort(list, function(x, y) return x[3] < y[3] end)
  return list
end

return reserved
