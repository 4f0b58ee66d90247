--- The functions that a class of rooms declares, as others call them.
-- @module sync.rooms.functions

local Method = require "sync.remoting.method"

local functions = {}

--- A table of functions, each made when it is first looked for: as `remote` has them, and as
-- `sync.method`s where those are.
-- @tparam table|nil known one that was made before: it's to look anew
-- @tparam table class whose `remote` has them
-- @tparam function wrap called with a name and its function; returns the one to be called instead
function functions.wrapped(known, class, wrap)
  for name in pairs(known or {}) do known[name] = nil end
  return setmetatable(known or {}, {__index = function(all, name)
    local entry = class.remote[name]
    local method = getmetatable(entry) == Method and entry
    local fn = method and method.fn or entry
    if type(fn) ~= "function" then return nil end
    local call = wrap(name, fn)
    if method then
      call = setmetatable({fn = call}, {__index = method, __metatable = Method})
    end
    all[name] = call
    return call
  end})
end

return functions
