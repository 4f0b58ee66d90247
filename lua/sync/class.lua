--- Classes: a table of methods that its instances and its subclasses look into.
--
--     local Animal = Class:extend("Animal")
--     function Animal:speak() return "..." end
--     local Dog = Animal:extend("Dog")
--
-- A class is its instances' metatable, so `__tostring` and the like can be defined on it. What it
-- is called is its `className`, so that an instance's `name` is its own. In a reload a class is the
-- same table as the one that had its name: see lua/sync/versions.lua.
-- @classmod sync.Class

local versions = require "sync.versions"

local Class = {className = "Class"}
Class.__index = Class

--- Makes a subclass.
-- @tparam string name what it is called in logs and errors
-- @treturn table the subclass, its `super` being this class
function Class:extend(name)
  if type(name) ~= "string" then
    error(("%s:extend(name): the name must be a string, not %s")
      :format(self.className, type(name)), 2)
  end
  local class = versions.class(self, name)
  class.className, class.super, class.__tostring = name, self, self.__tostring
  class.__index = class
  return setmetatable(class, {
    __index = self,
    __tostring = function() return "class " .. name end,
  })
end

-- Called in a reload on each class that had a predecessor, with its fields.
function Class:_renewed(before) end -- luacheck: ignore before

--- Makes an instance of a table of fields.
function Class:new(fields)
  return setmetatable(fields or {}, self)
end

--- Whether this instance or class is of `class` or of one of its subclasses.
function Class:is(class)
  local mine = rawget(self, "__index") == self and self or getmetatable(self)
  while mine do
    if mine == class then return true end
    mine = rawget(mine, "super")
  end
  return false
end

function Class:__tostring()
  return self.className
end

--- Raises an error when a method was called with a dot: what it is called for isn't there.
-- @param self what the method has got
-- @tparam string call as in "send(data)"
-- @raise for the line that has called the method
function Class.needColon(self, call)
  if type(self) == "table" then return end
  local name = call:match("^%w+")
  error(("%s: it was called with a dot, as client.%s(…); a method needs a colon: client:%s(…)")
    :format(call, name, name), 3)
end

--- Whether a value is a class that was made with `extend`.
function Class.isClass(value)
  return type(value) == "table" and rawget(value, "__index") == value and
    type(rawget(value, "className")) == "string"
end

return Class
