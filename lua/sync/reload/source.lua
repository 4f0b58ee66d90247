--- The files of a script: itself, and the modules of its folder that it requires. They are read
-- when a version of the script loads, and their texts are kept, so that the last version can be
-- gone back to, whatever has become of the files.
-- @module sync.reload.source

local HASH_LENGTH = 12

local source = {}

local script       -- as it was given
local folder       -- of it, with a slash at its end, once somebody has asked
local place        -- package.path, which scripts add to, before it did
local modules = {} -- paths of modules that were loaded, by name
local texts        -- of the version that loads or runs, by path
local counted      -- those of them that it had when it began to run
local known        -- their hash
local seen = {}    -- paths that some version has had, as keys: a broken one, too
local given        -- what a version is to be made of, by path; nil: what the files have

local function read(path)
  if given and given[path] then return given[path] end
  local file, problem = io.open(path, "rb")
  if not file then return nil, problem end
  local text = file:read("*a")
  file:close()
  if not text then return nil, path .. " can't be read" end
  return text
end

local function compile(path)
  local text, problem = read(path)
  if not text then return nil, problem end
  texts[path], seen[path] = text, true
  return loadstring(text:gsub("^#[^\n]*", ""), "@" .. path) -- a first line for the system's shell
end

-- Forgets modules of other folders. The core isn't loaded before a script wants it, so this is
-- found out when the script has been.
local function prune()
  local core = require "sync.core"
  folder = folder or (core.realPath(script) or ""):match "^.*/"
  for name, path in pairs(modules) do
    local real = core.realPath(path)
    if real and real:sub(1, #(folder or "")) ~= folder then
      modules[name], texts[path], seen[path] = nil, nil, nil
    end
  end
end

-- Where a module is.
local function find(name)
  local inPath = name:gsub("%.", "/"):gsub("%%", "%%%%")
  for template in (given and package.path or ""):gmatch "[^;]+" do
    local path = template:gsub("%?", inPath)
    if given[path] then return path end
  end
  return (package.searchpath(name, package.path))
end

-- Finds modules as Lua's own way to files does.
local function search(name)
  local path = find(name)
  if not path then return nil end
  local chunk, problem = compile(path)
  if not chunk then
    error(("error loading module '%s' from file '%s':\n\t%s"):format(name, path, problem), 0)
  end
  modules[name] = path
  return chunk
end

--- Begins with a script that is a file.
-- @tparam string path
-- @treturn function|nil its code, or nil and what is wrong
function source.begin(path)
  script, texts, place = path, {}, package.path
  table.insert(package.loaders, 2, search)
  return compile(script)
end

--- Whether the script is a file.
function source.isThere() return script ~= nil end

--- Begins another version.
-- @tparam[opt] table from texts by path, as `texts` returns them; nil: what the files have now
-- @treturn function what puts all back as it was, for a version that fails
-- @treturn function|nil its code, or nil and what is wrong
-- @treturn string|nil
function source.renew(from)
  prune()
  local before, was, hash, path, loaded = texts, counted, known, package.path, {}
  for name in pairs(modules) do
    loaded[name] = package.loaded[name]
    package.loaded[name] = nil
  end
  texts, counted, known, given, package.path = {}, nil, nil, from, place
  local function back()
    for name in pairs(modules) do package.loaded[name] = loaded[name] end
    texts, counted, known, given, package.path = before, was, hash, nil, path
  end
  return back, compile(script)
end

--- The texts of the version that loads or runs, by path. It may yet load modules.
function source.texts() return texts end

--- The version runs: what it loads from now on doesn't change what it's known by.
function source.settle()
  if not script then return end
  prune()
  counted = {}
  for path, text in pairs(texts or {}) do counted[path] = text end
end

--- What tells this version's files from others', in hexadecimal.
function source.hash()
  if known then return known end
  local files, paths, parts = counted or texts or {}, {}, {}
  for path in pairs(files) do paths[#paths + 1] = path end
  table.sort(paths)
  for i, path in ipairs(paths) do
    parts[i] = ("%s\0%d\0%s"):format(path, #files[path], files[path])
  end
  local hash = require "sync.secrets.crypto".sha256(table.concat(parts)):sub(1, HASH_LENGTH)
  if counted then known = hash end
  return hash
end

--- Numbers that are others when files have changed that a version has had, by path.
function source.stamps()
  local stamps, C = {}, require "sync.core".C
  for path in pairs(seen) do stamps[path] = C.sync_path_stamp(path) end
  return stamps
end

return source
