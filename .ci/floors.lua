--- The floors of src/ and lua/sync/: who may include or require whom.
--
--     luajit .ci/floors.lua        checks this tree; part of `make lint`
--
-- A file reaches into its own folder and into floors below. Folders that share a floor don't
-- know each other. A `require` within a function counts as any other, and so does a
-- module's name in a string: that one is loaded later doesn't turn the arrow around.
--
-- What points up all the same stands in `floors.exceptions`, with the reason; one that isn't
-- needed any more is an error, too.

local floors = {}

-- From the ground up. An entry is a folder, with a slash at its end, or a file, which goes
-- before its folder.
floors.table = {
  {
    "src/sync.h",            -- the door's declarations, and the FFI's
  }, {
    "src/net/",              -- descriptors and callbacks
  }, {
    "src/core/",             -- the tick, its batch, clocks, tables
    "src/state/",            -- what members of rooms see; knows no connection
  }, {
    "src/jobs/",             -- threads and descriptors of others, told as events
  }, {
    "src/fetch/",            -- requests of HTTP to others
    "src/secrets/",          -- passwords, digests, signatures
    "src/sql/",              -- SQLite on threads
    "src/work/",             -- Lua on threads
  }, {
    "src/conn/",             -- a connection, and what it asks of those above by two tables
  }, {
    "src/workers/",
    "src/tls/",
    "src/websocket/",
  }, {
    "src/http/",             -- upgrades to WebSocket
  }, {
    "src/listen/",           -- puts the above together for who comes, and whom we call
  }, {
    "src/upgrade/",          -- hands all of it to the next process
  }, {
    "src/host/",             -- stands in the place of functions of LuaJIT's, in the program
  }, {
    "src/sync.c",            -- the door
    "src/tick.c",            -- what happens behind it, in which order
    "src/main.c",            -- the program
  }, {
    "lua/sync/",             -- the loop, protocols, listeners
  }, {
    "lua/sync/service/",     -- what those share who wait for other servers: pools, failures
  }, {
    "lua/sync/redis/",       -- Redis for applications, and what the cluster's engine has of it
    "lua/sync/socket/",      -- sockets in LuaSocket's manner
    "lua/sync/fetch/",       -- requests of HTTP to others
    "lua/sync/flash/",       -- AMF, policies and Ruffle: formats
    "lua/sync/sql/",         -- databases
    "lua/sync/work/",        -- functions on threads
  }, {
    "lua/sync/secrets/",     -- passwords, digests and tokens, whose keys a URL may give
  }, {
    "lua/sync/http/",        -- pages, among them Flash's
  }, {
    "lua/sync/remoting/",    -- calls, in JSON and AMF, over all of these
  }, {
    "lua/sync/state/",       -- what members of rooms see
  }, {
    "lua/sync/cluster/",     -- many processes as one: moves the sessions of remoting
  }, {
    "lua/sync/rooms/",       -- rooms, whose members are clients of remoting, on any node
  }, {
    "lua/sync/reload/",      -- another version of the script takes the place of the one that runs
  }, {
    "lua/sync/console/",     -- what those who run a server ask and tell it
  }, {
    "lua/sync/upgrade/",     -- hands all of this to the next process
  }, {
    "lua/sync/amf.lua",      -- names that users know
    "lua/sync/init.lua",     -- the door: what users call
  }, {
    "protocols/",
    "lua/sync/cli/",
  },
}

-- Buildings of their own, which the others neither enter nor are entered by.
floors.apart = {"src/nats/"}

-- {file, what it reaches, why}
floors.exceptions = {
}

-- Reading.

-- Calls fn(text, line, before) for each short string in a Lua source: `before` is the code
-- that stands before it. Comments and long strings have none.
local function eachString(source, fn)
  source = source:gsub("\\[^\n]", "__") -- an escaped quote ends nothing
  local at, line, counted = 1, 1, 1
  while true do
    local from = source:find("[%-\"'%[]", at)
    if not from then return end
    local long = source:match("^%-%-%[(=*)%[", from) or source:match("^%[(=*)%[", from)
    local quote, text = source:match("^([\"'])([^\n]-)%1", from)
    local last = from
    if long then
      last = select(2, source:find("]" .. long .. "]", from, true)) or #source
    elseif source:find("^%-%-", from) then
      last = source:find("\n", from, true) or #source
    elseif quote then
      last = from + #text + 1
      line = line + select(2, source:sub(counted, from):gsub("\n", ""))
      counted = from + 1
      fn(text, line, source:sub(at, from - 1))
    end
    at = last + 1
  end
end

-- Calls fn(text, line) for each file that a C source includes by a name in quotes.
local function eachInclude(source, fn)
  local line = 0
  for text in (source .. "\n"):gmatch("(.-)\n") do
    line = line + 1
    local name = text:match('^%s*#%s*include%s*"(.-)"')
    if name then fn(name, line) end
  end
end

-- The name by which a file is required: lua/sync/http/init.lua is sync.http.
local function moduleName(path)
  local name = path:match("^lua/(.*)%.lua$") or "sync/" .. path:gsub("%.lua$", "")
  return (name:gsub("/init$", ""):gsub("/", "."))
end

local function folderOf(path)
  return path:match("^(.*/)") or ""
end

-- Calls fn(path, line) for each file of `files` that this one reaches.
local function eachReached(path, files, modules, fn)
  if path:find("%.lua$") then
    eachString(files[path], function(text, line, before)
      local isName = text ~= "sync" or before:find("require%s*%(?%s*$") -- a word of many uses
      if isName and modules[text] then fn(modules[text], line) end
    end)
  else
    eachInclude(files[path], function(name, line)
      local beside = folderOf(path) .. name
      fn(files[beside] and beside or "src/" .. name, line)
    end)
  end
end

-- Judging.

-- The entry that a file belongs to and its floor; nil for one that is on none, floor 0 for a
-- building apart.
local function placeOf(path)
  local entry, floor
  local function consider(name, number)
    local isIt = path == name or name:find("/$") and path:sub(1, #name) == name
    if isIt and #name > #(entry or "") then entry, floor = name, number end
  end
  for number, names in ipairs(floors.table) do
    for _, name in ipairs(names) do consider(name, number) end
  end
  for _, name in ipairs(floors.apart) do consider(name, 0) end
  return entry, floor
end

-- Why a file must not reach another; nil when it may.
local function objection(path, reached)
  local entry, floor = placeOf(path)
  local other, otherFloor = placeOf(reached)
  if entry == other or not other then return end
  if floor == 0 or otherFloor == 0 then return "which is apart" end
  if otherFloor > floor then
    return ("which is on a floor above (%s over %s)"):format(other, entry)
  end
  if otherFloor == floor then
    return ("which is beside it on the same floor (%s, %s)"):format(other, entry)
  end
end

local function readExceptions(list, complain)
  local unused = {}
  for _, each in ipairs(list) do
    local path, reached, why = unpack(each)
    if not why or why == "" then
      complain(("%s: its exception for %s lacks a reason"):format(path, reached))
    end
    unused[path .. " " .. reached] = each
  end
  return unused
end

--- What is wrong with a tree.
-- @tparam table files texts by their paths
-- @tparam table exceptions as `floors.exceptions`
-- @treturn table a list of lines, empty when nothing is
function floors.problems(files, exceptions)
  local problems, modules, paths = {}, {}, {}
  local function complain(text) problems[#problems + 1] = text end
  for path in pairs(files) do
    paths[#paths + 1] = path
    if path:find("%.lua$") then modules[moduleName(path)] = path end
  end
  table.sort(paths)
  local unused, excepted = readExceptions(exceptions, complain), {}
  for _, path in ipairs(paths) do
    if not placeOf(path) then
      complain(path .. ": is on no floor; give it one in .ci/floors.lua")
    else
      eachReached(path, files, modules, function(reached, line)
        local problem, key = objection(path, reached), path .. " " .. reached
        excepted[key] = excepted[key] or problem and unused[key]
        if problem and not excepted[key] then
          complain(("%s:%d: reaches %s, %s"):format(path, line, reached, problem))
        end
      end)
    end
  end
  for _, each in ipairs(exceptions) do
    if not excepted[each[1] .. " " .. each[2]] then
      complain(("%s: its exception for %s is no longer needed; remove it from .ci/floors.lua")
        :format(each[1], each[2]))
    end
  end
  return problems
end

--- The texts of src/, lua/sync/ and protocols/, by their paths.
function floors.read()
  local files = {}
  local list = assert(io.popen "find src lua/sync protocols -name '*.[ch]' -o -name '*.lua'")
  for path in list:lines() do
    local file = assert(io.open(path))
    files[path] = file:read("*a")
    file:close()
  end
  list:close()
  return files
end

if arg and arg[0] == ".ci/floors.lua" then
  local problems = floors.problems(floors.read(), floors.exceptions)
  for _, problem in ipairs(problems) do io.stderr:write(problem, "\n") end
  os.exit(#problems == 0 and 0 or 1)
end

return floors
