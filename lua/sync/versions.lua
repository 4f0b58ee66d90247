--- Versions of a script: what belongs to each, so that another one can take its place.
--
-- While a script's lines run, at the beginning or in a reload (lua/sync/reload), a version loads:
-- classes and timers that are made meanwhile, and functions that are set for signals, are its own.
-- A class of a version takes the place of the one that had its name: it is the same table, emptied
-- first, so that instances, listeners and sets need not be told. What a class keeps is named by
-- `keptByReload` of those it extends.
--
-- Where nobody begins a version, as in specs, nothing of this happens.
-- @module sync.versions

local reserved = require "sync.reserved"

local versions = {}

local Version = {}
Version.__index = Version

local loading, current = false, false
local owned = setmetatable({}, {__mode = "k"}) -- classes of versions

--- Begins to load one. It has a `number`, and `classes`, a list of {class, name, where, before},
-- where `before` is what the class was, and nil for a new one.
-- @tparam number number
-- @tparam boolean replaces whether another takes its place, that runs
-- @treturn Version
function versions.begin(number, replaces)
  loading = setmetatable({number = number, previous = replaces and current, twice = false,
    classes = {}, byKey = {}, saved = {}, signals = {},
    timers = setmetatable({}, {__mode = "k"})}, Version)
  return loading
end

--- The version that loads, or else runs; false: there is none.
function versions.current() return loading or current end

--- The version that runs, while another loads or not.
function versions.running() return current end

--- Whether one loads.
function versions.isLoading() return loading and true or false end

--- Whether one loads that is to take another's place.
function versions.isReloading() return loading and loading.previous and true or false end

--- The version that loads is the one that runs.
function versions.settle()
  if not loading then return end
  local before = loading.previous
  for key, entry in pairs(before and before.byKey or {}) do
    loading.byKey[key] = loading.byKey[key] or entry -- its instances may live on
  end
  loading.previous, loading.saved = false, {}
  current, loading = loading, false
end

-- Classes.

local function copy(fields)
  local copied = {}
  for name, value in pairs(fields) do copied[name] = value end
  return copied
end

local function fill(table, fields)
  for name in pairs(table) do table[name] = nil end
  for name, value in pairs(fields) do table[name] = value end
end

--- Keeps what is in a table, and its metatable, until the version runs: see `giveUp`.
function versions.save(table)
  if not loading or loading.saved[table] then return end
  loading.saved[table] = {fields = copy(table), meta = getmetatable(table)}
end

--- The version that loads won't run: tables that were saved are as they were.
function versions.giveUp()
  for table, was in pairs(loading.saved) do
    fill(table, was.fields)
    setmetatable(table, was.meta)
  end
  loading = false
end

-- The first line of the stack that makes a class, and not one of the functions that `extend` is on
-- the way there; nil when it's this library's own.
local function maker(base)
  local extends = {}
  local level = base
  while level do
    extends[rawget(level, "extend") or 0] = true
    level = rawget(level, "super")
  end
  for depth = 4, 12 do
    local info = debug.getinfo(depth, "Slf")
    if not info then return nil end
    if not extends[info.func] then
      return not reserved.isOurs(info.source) and info.what ~= "C" and
        ("%s:%d"):format(info.short_src, info.currentline) or nil
    end
  end
end

-- The class of this library that a class extends, by its name: instances have what that wants.
local function kindOf(base)
  while owned[base] do base = base.super end
  return base.className
end

-- Empties a class, but for what it keeps.
local function reopen(class, base)
  local kept = {}
  local level = base
  while level do
    for _, name in ipairs(rawget(level, "keptByReload") or {}) do
      kept[name] = rawget(class, name)
    end
    level = rawget(level, "super")
  end
  fill(class, kept)
end

--- The table of a class that is about to be made.
-- @tparam table base
-- @tparam string name
-- @treturn table an empty one, or the one of the class of this name, which has what it keeps
function versions.class(base, name)
  local version = loading
  local where = version and maker(base)
  if not where then return {} end
  local key = kindOf(base) .. " " .. name
  if version.byKey[key] then
    version.twice = version.twice or
      {name = name, first = version.byKey[key].where, second = where}
    return {}
  end
  local known = version.previous and version.previous.byKey[key]
  local entry = {class = known and known.class or {}, name = name, where = where}
  version.byKey[key] = entry
  version.classes[#version.classes + 1] = entry
  owned[entry.class] = true
  if known then
    versions.save(entry.class)
    entry.before = version.saved[entry.class].fields
    reopen(entry.class, base)
  end
  return entry.class
end

-- The name of a class that is of another kind than before.
local function changedKind(version)
  local names = {}
  for _, entry in ipairs(version.classes) do
    if not entry.before then names[entry.name] = entry end
  end
  for key, entry in pairs(version.previous.byKey) do
    if names[entry.name] and not version.byKey[key] then return entry.name end
  end
end

--- Why a version can't take the place of the one that runs, as far as its classes tell.
-- @treturn string|nil
function Version:problem()
  local twice = self.twice or self.previous.twice
  if twice then
    return ("two classes have the name %q (%s and %s), and a reload knows classes by their " ..
      "names: give one another name%s"):format(twice.name, twice.first, twice.second,
      self.previous.twice and ", and start the server anew once" or "")
  end
  local name = changedKind(self)
  if name then
    return ("the class %q extends another class of SYNC than before, and its clients can't " ..
      "follow: upgrade instead"):format(name)
  end
end

-- Timers and signals.

--- Notes a timer. It's the version's that loads, or that of the timer whose function starts it:
-- what handlers start for their clients is nobody's.
-- @tparam table timer of the loop
-- @tparam table|nil firing the timer whose function runs
function versions.note(timer, firing)
  local version = loading or firing and firing.version
  if not version then return end
  timer.version = version
  version.timers[timer] = true
end

--- Notes a signal.
-- @tparam number number
-- @tparam boolean isWanted
function versions.noteSignal(number, isWanted)
  if loading then loading.signals[number] = isWanted or nil end
end

return versions
