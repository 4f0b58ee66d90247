--- Calls among the object files of src/: no circle of files that need each other.
--
--     luajit .ci/cycles.lua build/obj        checks what was built; part of `make lint`
--
-- A file needs another when it uses a symbol that the other defines, by a call or by an
-- address, as `nm` tells. Floors say which folders may use which; here files of one folder
-- are told apart, too.

local cycles = {}

--- Who needs whom.
-- @tparam table objects lists of {defines = {symbol = true}, needs = {symbol = true}} by file
-- @treturn table sets of files by file
function cycles.uses(objects)
  local owner, uses = {}, {}
  for file, object in pairs(objects) do
    for symbol in pairs(object.defines) do owner[symbol] = file end
  end
  for file, object in pairs(objects) do
    uses[file] = {}
    for symbol in pairs(object.needs) do
      local other = owner[symbol]
      if other and other ~= file then uses[file][other] = symbol end
    end
  end
  return uses
end

local function sorted(set)
  local list = {}
  for name in pairs(set) do list[#list + 1] = name end
  table.sort(list)
  return list
end

--- The first circle, as a list of "a uses b (symbol)"; nil when there is none.
-- @tparam table uses as by `cycles.uses`
-- @treturn ?table
function cycles.find(uses)
  local state, path = {}, {}
  local function visit(file)
    state[file] = "open"
    path[#path + 1] = file
    for _, other in ipairs(sorted(uses[file])) do
      if state[other] == "open" then
        path[#path + 1] = other
        return other
      end
      local closed = not state[other] and visit(other)
      if closed then return closed end
    end
    path[#path] = nil
    state[file] = "done"
  end
  for _, file in ipairs(sorted(uses)) do
    local closed = not state[file] and visit(file)
    if closed then
      local lines = {}
      while path[1] ~= closed do table.remove(path, 1) end
      for i = 1, #path - 1 do
        lines[i] = ("%s uses %s (%s)"):format(path[i], path[i + 1], uses[path[i]][path[i + 1]])
      end
      return lines
    end
  end
end

-- Whether a source is there; an object may be left of one that is gone.
local function isThere(file)
  local opened = io.open("src/" .. file)
  return opened and opened:close()
end

--- What the object files below a folder, which mirrors src/, define and need.
-- @tparam string folder
-- @treturn table as `cycles.uses` takes
function cycles.read(folder)
  local objects = {}
  local list = assert(io.popen(("find '%s' -name '*.o'"):format(folder)))
  for path in list:lines() do
    local object = {defines = {}, needs = {}}
    local symbols = assert(io.popen(("nm '%s'"):format(path)))
    for line in symbols:lines() do
      local kind, name = line:match("(%a) (%S+)$")
      if kind == "U" then
        object.needs[name] = true
      elseif kind and kind:find("%u") then -- in lower case: the file's own
        object.defines[name] = true
      end
    end
    symbols:close()
    local file = path:sub(#folder + 2):gsub("%.o$", ".c")
    if isThere(file) then objects[file] = object end
  end
  list:close()
  return objects
end

if arg and arg[0] == ".ci/cycles.lua" then
  local objects = cycles.read(assert(arg[1], "usage: luajit .ci/cycles.lua FOLDER"))
  if not next(objects) then
    io.stderr:write(arg[1], ": no object file is there; run make build first\n")
    os.exit(1)
  end
  local circle = cycles.find(cycles.uses(objects))
  if circle then
    io.stderr:write("src/: files that need each other:\n  ", table.concat(circle, "\n  "), "\n")
    os.exit(1)
  end
end

return cycles
