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

-- Of each client; and what sync.Remote adds, whose names begin with an underscore, so that they are
-- nobody else's.
local FIELDS = {"id", "address", "port", "transport", "clients", "className", "slot", "closing",
  "joined"}
local KNOWN = {"user"} -- where a class has auth
local REMOTE = {"_session", "_wire", "_mirrors", "_calls", "_owed", "_allowances", "_membership"}

-- Where this library's own modules lie.
local ROOT = debug.getinfo(1, "S").source:gsub("reserved%.lua$", "")

--- What sources of this library's code begin with.
reserved.root = ROOT

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
local GET_GLOBAL, GET_FIELD, MOVE = opcode "GGET", opcode "TGETS", opcode "MOV"
local CALLS = {}
for _, name in ipairs {"CALL", "CALLM", "CALLT", "CALLMT"} do CALLS[opcode(name) or 0] = true end

-- How far behind a function the first argument of its call is: a LuaJIT with wide slots leaves
-- one between. Found in the code of a call.
local function findArgument()
  local argument
  local function call(fn, value) fn(value) end
  for pc = 1, hasNames and jutil.funcinfo(call).bytecodes - 1 or 0 do
    local instruction = jutil.funcbc(call, pc)
    local a, d = bit.band(bit.rshift(instruction, 8), 255), bit.rshift(instruction, 16)
    if bit.band(instruction, 255) == MOVE and d == 1 then argument = a end
    if CALLS[bit.band(instruction, 255)] then return argument - a end
  end
end
local ARGUMENT = findArgument()

-- What an instruction puts into its register: true for self, or a value of the script's, as far as
-- that is known; nil for anything else.
local function loaded(fn, hasSelf, registers, op, b, c, d)
  if op == MOVE then return d == 0 and hasSelf or registers[d] end
  if op == GET_UPVALUE then
    if jutil.funcuvname(fn, d) == "self" then return true end
    if type(fn) == "function" then return (select(2, debug.getupvalue(fn, d + 1))) end
  elseif type(fn) == "function" and op == GET_GLOBAL then
    return rawget(getfenv(fn), jutil.funck(fn, -d - 1))
  elseif op == GET_FIELD and type(registers[b]) == "table" then
    return rawget(registers[b], jutil.funck(fn, -c - 1))
  end
end

-- Calls `visit(name, line, fn)` for what a function, those within it, and those that it hands self
-- to assign to fields of what is called self: its first parameter, or a variable of a function
-- around it. `fn` is a function, or what stands for one within another.
local function eachField(fn, hasSelf, visit, seen)
  if seen[fn] then return end
  seen[fn] = true
  local registers = {} -- what is in them, where the code is read from its beginning to its end
  for pc = 1, jutil.funcinfo(fn).bytecodes - 1 do
    local instruction = jutil.funcbc(fn, pc)
    local op = bit.band(instruction, 255)
    local a, d = bit.band(bit.rshift(instruction, 8), 255), bit.rshift(instruction, 16)
    local b, c = bit.rshift(d, 8), bit.band(d, 255)
    if op == SET_FIELD then
      if hasSelf and b == 0 or registers[b] == true then
        visit(jutil.funck(fn, -c - 1), jutil.funcinfo(fn, pc).currentline, fn)
      end
    elseif CALLS[op] then
      local called = registers[a]
      if type(called) == "function" and registers[a + ARGUMENT] == true and
        jutil.funcinfo(called).bytecodes and not isOwnFunction(called) then
        eachField(called, true, visit, seen)
      end
      registers[a] = nil
    else
      registers[a] = loaded(fn, hasSelf, registers, op, b, c, d)
      if op == NEW_FUNCTION then eachField(jutil.funck(fn, -d - 1), false, visit, seen) end
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
  local names, list, seen = reserved.names(class), {}, {}
  if not hasNames then return list end
  for fn, className in pairs(ownFunctions(class)) do
    eachField(fn, debug.getlocal(fn, 1) == "self", function(name, line, where)
      local file = jutil.funcinfo(where).source:gsub("^[@=]", "")
      if names[name] then list[#list + 1] = {name, file, line, className} end
    end, seen)
  end
  table.sort(list, function(x, y)
    if x[2] ~= y[2] then return x[2] < y[2] end
    return x[3] < y[3]
  end)
  return list
end

return reserved
