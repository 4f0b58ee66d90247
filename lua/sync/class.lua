--- Classes: a table of methods that its instances and its subclasses look into.
--
--     local Animal = Class:extend("Animal")
--     function Animal:speak() return "..." end
--     local Dog = Animal:extend("Dog")
--
-- A class is its instances' metatable, so `__tostring` and the like can be defined on it.
-- @classmod sync.Class

local Class = {name = "Class"}
Class.__index = Class

--- Makes a subclass.
-- @tparam string name what it is called in logs and errors
-- @treturn table the subclass, its `super` being this class
function Class:extend(name)
  if type(name) ~= "string" then
    error(("%s:extend(name): the name must be a string, not %s")
      :format(self.name, type(name)), 2)
  end
  local class = {name = name, super = self, __tostring = self.__tostring}
  class.__index = class
  return setmetatable(class, {
    __index = self,
    __tostring = function() return "class " .. name end,
  })
end

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
  return self.name
end

--- Whether a value is a class that was made with `extend`.
function Class.isClass(value)
  return type(value) == "table" and rawget(value, "__index") == value and
    type(rawget(value, "name")) == "string"
end

return Class
