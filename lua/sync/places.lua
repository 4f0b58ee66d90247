--- Where the door of a process is: a Unix socket in a folder of who runs it. The server opens the
-- first that can be had; who looks for it tries all. Workers have others beside it.
-- @module sync.places

local core = require "sync.core"

local places = {}

local MOST_ENVIRONMENT = 64 * 1024 -- bytes that are read of it

--- The places of a process: a list of {folder, path}.
-- @tparam number process
-- @tparam number user who runs it
-- @tparam function getenv
-- @tparam[opt] string root where its files are seen
-- @tparam[opt] string ending of the file's name, where it isn't the door
function places.of(process, user, getenv, root, ending)
  local folders, list = {}, {}
  -- Of a service, and of a person who is logged in.
  for _, name in ipairs {"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} do
    local folder = (getenv(name) or ""):match "^(/[^:]*)"
    if folder then folders[#folders + 1] = folder .. "/sync-lua" end
  end
  folders[#folders + 1] = ("/tmp/sync-lua-%d"):format(user)
  for i, folder in ipairs(folders) do
    folder = (root or "") .. folder
    list[i] = {folder = folder, path = ("%s/%d%s.sock"):format(folder, process, ending or "")}
  end
  return list
end

--- Opens a socket at the first place of this process that can be had: see sync_door_open.
-- @tparam[opt] string ending as above
-- @treturn number|nil its descriptor, or nil
-- @treturn string its path, or which ones were tried, and why in vain
function places.open(ending)
  local process, problems = core.C.sync_process(), {}
  local owner = core.C.sync_door_owner(process)
  for _, place in ipairs(places.of(process, owner, os.getenv, nil, ending)) do
    local fd = core.C.sync_door_open(place.folder, place.path)
    if fd >= 0 then return fd, place.path end
    problems[#problems + 1] = ("%s (%s)"):format(place.path, select(2, core.problem(fd)))
  end
  return nil, table.concat(problems, ", ")
end

-- The environment that another process began with; of one that doesn't let itself be seen, ours.
local function environmentOf(process)
  local file = io.open(("/proc/%d/environ"):format(process), "rb")
  local text = file and file:read(MOST_ENVIRONMENT) or ""
  if file then file:close() end
  if text == "" then return os.getenv end
  return function(name) return ("\0" .. text):match("%z" .. name .. "=(%Z*)") end
end

--- Those of another process.
-- @treturn table|nil a list, or nil: there is no such process
function places.find(process)
  local user = core.C.sync_door_owner(process)
  if user < 0 then return nil end
  local getenv = environmentOf(process)
  local list = places.of(process, user, getenv, ("/proc/%d/root"):format(process))
  for _, place in ipairs(places.of(process, user, getenv)) do list[#list + 1] = place end
  return list
end

return places
