--- Functions that clients may call, with declared arguments.
--
--     Game.remote.move = sync.method("x: number", "y: number", "note: string?",
--       function(self, x, y, note) … end)
--
-- A declared argument is a name and a type: "number" (finite), "integer", "string",
-- "boolean", "list", "table" (with names), "any". A question mark lets it be left out. Calls
-- with other arguments get an error that names the argument; they may give arguments by
-- position or by name. A table of options may stand before the function:
-- `{rate = 10, burst = 20}` lets each client call it 10 times a second, and 20 at once;
-- without a burst, as many at once as in a second, but at least one; `{waits = true}` lets the
-- function wait, as `sync.waits` does.
-- @module sync.remoting.method

local Class = require "sync.class"
local declared = require "sync.declared"

local Method = Class:extend("Method")

local function isInteger(value)
  return type(value) == "number" and value % 1 == 0 and math.abs(value) <= 2 ^ 53
end

-- What AMF has made of a value: nil for a plain table, and for all that JSON has.
local function kindOf(value)
  return getmetatable(value) and require "sync.flash.values".kind(value)
end

local LISTS = {list = true, vector = true}

local function isList(value)
  if type(value) ~= "table" then return false end
  local kind = kindOf(value)
  return LISTS[kind] or kind == nil and (#value > 0 or next(value) == nil)
end

local function isTable(value)
  if type(value) ~= "table" then return false end
  local kind = kindOf(value)
  if kind == "list" then return next(value) == nil end -- what some clients make of an empty one
  return kind == "typed" or kind == nil and (#value == 0 or not isList(value))
end

local CHECKS = {
  number = function(value)
    return type(value) == "number" and value == value and math.abs(value) < math.huge
  end,
  integer = isInteger,
  string = function(value) return type(value) == "string" end,
  boolean = function(value) return type(value) == "boolean" end,
  list = isList,
  table = isTable,
  any = function(value) return value ~= nil end,
}

local WANTED = {number = "a number", integer = "a whole number", string = "a string",
  boolean = "true or false", list = "a list", table = "an object", any = "given"}

local function parse(declaration)
  local name, kind, optional = declaration:match("^%s*([%a_][%w_]*)%s*:%s*(%a+)(%??)%s*$")
  if not name or not CHECKS[kind] then
    error(('sync.method: %q is not "name: type", with a type of number, integer, string, ' ..
      'boolean, list, table, any, and a ? behind it if it may be left out'):format(declaration), 3)
  end
  return {name = name, kind = kind, optional = optional == "?", check = CHECKS[kind]}
end

local function checkOptions(options)
  for name, value in pairs(options) do
    local isRate = (name == "rate" or name == "burst") and type(value) == "number" and value > 0
    if not isRate and not (name == "waits" and type(value) == "boolean") then
      error(("sync.method: option %s must be rate or burst, a number above 0, or waits, true or " ..
        "false"):format(tostring(name)), 3)
    end
  end
  if options.burst and (options.burst < 1 or not options.rate) then
    error("sync.method: burst must be 1 or more, and stand beside a rate", 3)
  end
end

--- Declares a function's arguments.
-- @param ... declarations, an optional table of options, and the function
-- @treturn sync.Method to be put into a class's `remote`
function Method.declare(...)
  local given = {...}
  local fn = table.remove(given)
  local options = type(given[#given]) == "table" and table.remove(given) or {}
  if type(fn) ~= "function" then
    error("sync.method: the last argument must be the function", 2)
  end
  checkOptions(options)
  local parameters, places = {}, {}
  for i, declaration in ipairs(given) do
    parameters[i] = parse(tostring(declaration))
    places[parameters[i].name] = i
  end
  local inner = declared[fn]
  return Method:new {fn = inner or fn, waits = options.waits or inner ~= nil,
    parameters = parameters, places = places, count = #parameters, rate = options.rate,
    burst = options.burst or options.rate and math.max(1, options.rate)}
end

local function describe(value)
  local kind = type(value)
  if kind == "nil" then return "missing" end
  if kind == "number" or kind == "boolean" then return tostring(value) end
  if kind == "table" then return isList(value) and "a list" or "an object" end
  return "a " .. kind
end

--- Puts named arguments in their places.
-- @treturn table|nil by position, or nil and what is wrong
function Method:arrange(named)
  local arguments = {}
  for name, value in pairs(named) do
    local place = self.places[name]
    if not place then return nil, ("there is no argument %q"):format(tostring(name)) end
    arguments[place] = value
  end
  return arguments
end

--- Checks arguments.
-- @tparam table arguments by position
-- @tparam number count how many were given
-- @treturn string|nil what is wrong
function Method:problem(arguments, count)
  if count > self.count then
    return ("%d arguments were given, and it takes %d"):format(count, self.count)
  end
  for i = 1, self.count do
    local parameter, value = self.parameters[i], arguments[i]
    if not (value == nil and parameter.optional) and not parameter.check(value) then
      local verb = parameter.kind == "any" and "must be given" or
        ("must be %s, and is %s"):format(WANTED[parameter.kind], describe(value))
      return ("argument %d (%s) %s"):format(i, parameter.name, verb)
    end
  end
end

return Method
