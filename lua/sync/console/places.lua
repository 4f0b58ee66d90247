--- Where the door of a process is: a Unix socket in a folder of who runs it. The server opens the
-- first that can be had; who looks for it tries all.
-- @module sync.console.places

local core = require "sync.core"

local places = {}

local MOST_ENVIRONMENT = 64 * 1024 -- bytes that are read of it

--- The places of a process: a list of {folder, path}.
-- @tparam number process
-- @tparam number user who runs it
-- @tparam function getenv
-- @tparam[opt] string root where its files are seen
function places.of(process, user, getenv, root)
  local folders, list = {}, {}
  -- Of a service, and of a person who is logged in.
  for _, name in ipairs {"RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"} do
    local folder = (getenv(name) or ""):match "^(/[^:]*)"
    if folder then folders[#folders + 1] = folder .. "/sync-lua" end
  end
  folders[#folders + 1] = ("/tmp/sync-lua-%d"):format(user)
  for i, folder in ipairs(folders) do
    folder = (root or "") .. folder
    list[i] = {folder = folder, path = ("%s/%d.sock"):format(folder, process)}
  end
  return list
end

--- Those of this process.
function places.own()
  local process = core.C.sync_process()
  return places.of(process, core.C.sync_door_owner(process), os.getenv)
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
