-- A Redis server of the spec's own: on a free port of this machine and a Unix socket, nothing
-- kept on disk. It ends with the spec, see spec/support/process.lua.

local Process = require "spec.support.process"

local Redis = {}
Redis.__index = Redis

local function launch(self)
  local arguments = {"redis-server", "--bind", "127.0.0.1", "--port", self.port, "--unixsocket",
    self.path, "--save", "", "--appendonly", "no", "--dir", "/tmp"}
  if self.password then
    arguments[#arguments + 1] = "--requirepass"
    arguments[#arguments + 1] = self.password
  end
  for _, argument in ipairs(self.more) do arguments[#arguments + 1] = argument end
  self.process = Process.start(arguments)
  Process.eventually("redis-server answers", function()
    return self.process:stdout():find("Ready to accept", 1, true) or not self.process:isRunning()
  end)
  return self.process:isRunning()
end

--- Starts one and waits until it answers.
-- @tparam[opt] string password
-- @param ... more arguments of redis-server
function Redis.start(password, ...)
  local self = setmetatable({password = password, more = {...}, path = Process.file(nil, ".sock")},
    Redis)
  for _ = 1, 10 do -- another may have taken the port meanwhile
    self.port = Process.freePort()
    if launch(self) then return self end
  end
  error("redis-server doesn't start:\n" .. self.process:stdout(), 2)
end

--- Starts it again, where it was.
function Redis:restart()
  Process.eventually("redis-server is there again", function() return launch(self) end)
end

--- Sends a signal; after KILL it has ended.
function Redis:kill(name)
  self.process:kill(name)
  if name == "KILL" then self.process:wait() end
end

--- Its URL, with what stands behind the port, and its password unless another is given.
function Redis:url(rest, account)
  account = account or self.password and (":%s@"):format(self.password) or ""
  return ("redis://%s127.0.0.1:%d%s"):format(account, self.port, rest or "")
end

--- Runs a command over a connection of its own.
-- @treturn string what redis-cli prints
function Redis:command(...)
  local arguments = {"redis-cli", "-p", self.port, ...}
  if self.password then
    table.insert(arguments, 2, "--no-auth-warning")
    table.insert(arguments, 2, self.password)
    table.insert(arguments, 2, "-a")
  end
  local process = Process.start(arguments)
  process:closeInput()
  process:wait()
  return (process:stdout():gsub("\n$", ""))
end

return Redis
