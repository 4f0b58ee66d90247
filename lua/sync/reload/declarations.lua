--- The FFI's declarations of a script, which can't be taken back: in a reload those that are known
-- are skipped, and one that has changed is an error.
-- @module sync.reload.declarations

local ffi = require "ffi"
local versions = require "sync.versions"

local declarations = {}

local known = {} -- texts that were declared, as keys

-- What is wrong, with what to do.
local function explain(problem, what)
  problem = tostring(problem)
  local isTaken = problem:find("attempt to redefine", 1, true) or
    problem:find("protected metatable", 1, true)
  if not isTaken then return problem end
  return ("%s (%s of the FFI can't be taken back, so this can't be reloaded: upgrade instead)")
    :format(problem, what)
end

--- Has `ffi.cdef` and `ffi.metatype` note what they are given.
function declarations.watch()
  local cdef, metatype = ffi.cdef, ffi.metatype
  function ffi.cdef(text, ...)
    local isPlain = type(text) == "string" and select("#", ...) == 0
    if not versions.isReloading() then
      cdef(text, ...)
    elseif not (isPlain and known[text]) then
      local ok, problem = pcall(cdef, text, ...)
      if not ok then error(explain(problem, "a declaration"), 2) end
    end
    if isPlain then known[text] = true end
  end
  function ffi.metatype(...)
    if not versions.isReloading() then return metatype(...) end
    local ok, made = pcall(metatype, ...)
    if not ok then error(explain(made, "a metatype"), 2) end
    return made
  end
end

return declarations
