-- A PostgreSQL server of the spec's own: on a free port of this machine and a Unix socket in a
-- folder of its own, nothing kept. It ends with the spec, see spec/support/process.lua.

local Process = require "spec.support.process"

local Postgres = {}
Postgres.__index = Postgres

local function command(name)
  local pipe = assert(io.popen("ls -d /usr/lib/postgresql/*/bin/" .. name .. " 2>/dev/null"))
  local path = pipe:read("*l")
  pipe:close()
  return path or name
end

-- PostgreSQL refuses to be run by root.
local function asUser(...)
  if Process.isRoot() then return {"setpriv", "--reuid=postgres", "--regid=postgres",
    "--init-groups", ...} end
  return {...}
end

local function run(...)
  local process = Process.start(asUser(...))
  process:closeInput()
  assert(process:wait() == 0, process:stdout() .. process:stderr())
end

function Postgres:launch()
  self.process = Process.start(asUser(command "postgres", "-D", self.folder, "-p", self.port, "-h",
    "127.0.0.1", "-k", self.folder, "-c", "fsync=off", "-c", "max_connections=100"))
  self.process:expect("stderr", "(ready to accept connections)")
end

--- Starts one and waits until it answers.
function Postgres.start()
  local self = setmetatable({folder = os.tmpname(), port = Process.freePort()}, Postgres)
  os.remove(self.folder)
  os.execute(("mkdir -m 700 %s"):format(self.folder))
  if Process.isRoot() then os.execute("chown postgres: " .. self.folder) end
  run(command "initdb", "-D", self.folder, "-U", "sync", "-A", "trust", "-E", "UTF8", "--no-sync",
    "--no-locale")
  self:launch()
  self.url = ("postgres://sync@127.0.0.1:%d/postgres"):format(self.port)
  return self
end

--- Ends it at once, as a power failure would.
function Postgres:kill()
  self.process:kill("KILL")
  self.process:wait()
end

function Postgres:stop()
  self.process:kill("INT")
  self.process:wait()
  os.execute("rm -rf " .. self.folder)
end

return Postgres
