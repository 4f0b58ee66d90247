--- A list of functions that are told the same. What one of them raises is logged, and keeps
-- nothing from the others.
-- @classmod sync.remoting.listeners

local try = require "sync.remoting.try"

local Listeners = {}
Listeners.__index = Listeners

--- Makes an empty list.
-- @tparam string what its functions are called in the log
function Listeners.new(what)
  return setmetatable({what = what}, Listeners)
end

--- Adds a function.
-- @tparam function fn
-- @treturn function that takes it out again
-- @raise for the line that has called the caller
function Listeners:add(fn)
  if type(fn) ~= "function" then error("a listener must be a function", 3) end
  self[#self + 1] = fn
  return function()
    for i, each in ipairs(self) do
      if each == fn then return table.remove(self, i) end
    end
  end
end

--- Calls those that are there now.
function Listeners:tell(...)
  for _, fn in ipairs {unpack(self)} do try(self.what, nil, fn, ...) end
end

return Listeners
