--- What else drivers find in `require "socket"`: errors that are caught (`newtry`, `protect`), and
-- sources and sinks of LTN12.
-- @module sync.socket.filters

local filters = {BLOCKSIZE = 2048}

-- Errors: `try` raises what `protect` gives back as nil and a message.

local Raised = {}

--- A function that returns its arguments, or raises the second when the first is nil or false.
-- @tparam[opt] function finalizer called before that
function filters.newtry(finalizer)
  return function(...)
    local ok, problem = ...
    if ok then return ... end
    if finalizer then pcall(finalizer) end
    error(setmetatable({problem}, Raised), 0)
  end
end

local function given(ok, problem, ...)
  if ok then return problem, ... end
  if getmetatable(problem) == Raised then return nil, problem[1] end
  error(problem, 0)
end

--- A function that returns nil and a message where `try` in it raises.
function filters.protect(fn)
  return function(...) return given(pcall(fn, ...)) end
end

--- Leaves out the first `count` values.
function filters.skip(count, ...)
  return select(count + 1, ...)
end

-- Sources and sinks, by name.

function filters.choose(functions)
  return function(name, first, second)
    if type(name) ~= "string" then name, first, second = "default", name, first end
    local make = functions[name or "nil"]
    if not make then error("unknown key (" .. tostring(name) .. ")", 3) end
    return make(first, second)
  end
end

-- Both are functions that sockets' own methods are asked of, too (LTN12's manner).
local function object(connection, fn)
  return setmetatable({
    getfd = function() return connection:getfd() end,
    dirty = function() return connection:dirty() end,
  }, {__call = function(_, ...) return fn(...) end})
end

filters.sinks = {
  ["close-when-done"] = function(connection)
    return object(connection, function(chunk)
      if chunk then return connection:send(chunk) end
      connection:close()
      return 1
    end)
  end,
  ["keep-open"] = function(connection)
    return object(connection, function(chunk)
      if chunk then return connection:send(chunk) end
      return 1
    end)
  end,
}
filters.sinks.default = filters.sinks["keep-open"]

filters.sources = {
  ["by-length"] = function(connection, length)
    return object(connection, function()
      if length <= 0 then return nil end
      local chunk, problem = connection:receive(math.min(filters.BLOCKSIZE, length))
      if not chunk then return nil, problem end
      length = length - #chunk
      return chunk
    end)
  end,
  ["until-closed"] = function(connection)
    local isOver = false
    return object(connection, function()
      if isOver then return nil end
      local chunk, problem, part = connection:receive(filters.BLOCKSIZE)
      if chunk then return chunk end
      if problem ~= "closed" then return nil, problem end
      connection:close()
      isOver = true
      return part
    end)
  end,
}
filters.sources.default = filters.sources["until-closed"]

filters.sink, filters.source = filters.choose(filters.sinks), filters.choose(filters.sources)

return filters
