--- The steps that a database's tables have come by: `sync.migrate`.
--
--     sync.spawn(function() sync.migrate(db, "migrations/") end)
--
-- Files are named NUMBER_NAME.sql ("001_scores.sql"), hold any statements, and are executed once
-- each, in the order of their numbers; the table `sync_migration` keeps which. Several nodes may
-- do this at once: one does, the others wait. Each file is a transaction, so it's done or not;
-- but MySQL can't take back what changes tables: there a file that fails halfway stays half
-- done, and should change one table.
-- @module sync.migrate

local ffi = require "ffi"

ffi.cdef [[
struct sync_glob { size_t count; char **paths; size_t reserved[16]; };
int glob(const char *pattern, int flags, void *error, struct sync_glob *found);
void globfree(struct sync_glob *found);
]]

local TABLE = "create table if not exists sync_migration (number integer primary key, " ..
  "name varchar(200) not null)"
local LOCK = 7378697629 -- a number that no other lock of an application should have
local LOCK_SECONDS = 60

local function read(path)
  local file, problem = io.open(path, "rb")
  if not file then error("sync.migrate: " .. problem, 0) end
  local text = file:read("*a")
  file:close()
  return text
end

local function filesOf(folder)
  local found, paths = ffi.new "struct sync_glob", {}
  local pattern = folder:gsub("[%[%]*?\\]", "\\%0"):gsub("/*$", "") .. "/*.sql"
  if ffi.C.glob(pattern, 0, nil, found) == 0 then
    for i = 1, tonumber(found.count) do paths[i] = ffi.string(found.paths[i - 1]) end
    ffi.C.globfree(found)
  end
  return paths
end

-- The files of a folder by their numbers, in order.
local function list(folder)
  local steps, taken = {}, {}
  for _, path in ipairs(filesOf(folder)) do
    local name = path:match("[^/]+$")
    local number = tonumber(name:match("^(%d+)"))
    if not number or taken[number] then
      error(("sync.migrate: %s has %s"):format(path, number and
        "the number of " .. taken[number] or "no number at its begin"), 0)
    end
    taken[number] = name
    steps[#steps + 1] = {number = number, name = name, path = path}
  end
  if #steps == 0 then error(("sync.migrate: there is no .sql file in %s"):format(folder), 0) end
  table.sort(steps, function(a, b) return a.number < b.number end)
  return steps
end

-- Whether a step was to be done, and is.
local function apply(tx, step)
  local name = tx:value("select name from sync_migration where number = ?", step.number)
  if name == step.name then return false end
  if name then
    error(("sync.migrate: %s was done as %s: a step isn't renamed, and a number isn't used twice")
      :format(step.name, name), 0)
  end
  tx:script(read(step.path))
  tx:run("insert into sync_migration (number, name) values (?, ?)", step.number, step.name)
  return true
end

-- One node does a step at a time. SQLite's transactions are writers from their begin.
local LOCKS = {
  postgres = function(tx, step)
    tx:value("select pg_advisory_xact_lock(?)", LOCK)
    tx:run(TABLE)
    return apply(tx, step)
  end,
  mysql = function(tx, step)
    if tx:value("select get_lock('sync_migration', ?)", LOCK_SECONDS) ~= 1 then
      error("sync.migrate: another node has the lock for too long", 0)
    end
    -- What changes tables ends MySQL's transaction.
    local ok, result = pcall(function()
      tx:run(TABLE)
      tx.session:reopen()
      local isDone = apply(tx, step)
      tx.session:reopen()
      return isDone
    end)
    pcall(tx.value, tx, "select release_lock('sync_migration')")
    if not ok then error(result, 0) end
    return result
  end,
  sqlite = function(tx, step)
    tx:run(TABLE)
    return apply(tx, step)
  end,
}
LOCKS.postgresql, LOCKS.mariadb = LOCKS.postgres, LOCKS.mysql

--- Does the steps that aren't done yet; waits.
-- @function sync.migrate
-- @tparam sync.sql.database db
-- @tparam string folder
-- @treturn number how many it has done
-- @raise what is wrong, of the step where it stopped
return function(db, folder)
  if type(folder) ~= "string" then
    error("sync.migrate(db, folder): folder must be a string, not " .. type(folder), 2)
  end
  local done = 0
  for _, step in ipairs(list(folder)) do
    local ok, result = pcall(db.transaction, db, LOCKS[db.scheme], step)
    if not ok then
      error(type(result) == "table" and ("sync.migrate: %s: %s"):format(step.name,
        tostring(result)) or result, 0)
    end
    if result then done = done + 1 end
  end
  return done
end
