-- Servers of NATS that a spec starts, each in a folder of its own below one that is removed
-- with them. They listen on free ports of 127.0.0.1.

local Process = require "spec.support.process"
local socket = require "socket"

local Nats = {}
Nats.__index = Nats

local running, folders = {}, {}

local function newFolder()
  local folder = os.tmpname()
  os.remove(folder)
  assert(os.execute("mkdir " .. folder) == 0)
  folders[#folders + 1] = folder
  return folder
end

local function accepts(port)
  local client = socket.connect("127.0.0.1", port)
  if client then client:close() end
  return client ~= nil
end

--- Starts the program, again after `kill`, on the same port.
function Nats:run()
  self.process = Process.start {"nats-server", unpack(self.arguments)}
  running[self.process] = true
  Process.eventually(function() return "nats-server listens\n" .. self.process:stderr() end,
    function()
      assert(self.process:isRunning(), self.process:stderr())
      return accepts(self.port)
    end)
end

--- Starts a server with JetStream, or (options.plain) without. `options.arguments` are more of
-- its own.
function Nats.start(options)
  options = options or {}
  local self = setmetatable({port = Process.freePort()}, Nats)
  self.arguments = {"-a", "127.0.0.1", "-p", self.port}
  if not options.plain then
    for _, each in ipairs {"-js", "-sd", newFolder()} do table.insert(self.arguments, each) end
  end
  for _, each in ipairs(options.arguments or {}) do table.insert(self.arguments, each) end
  self:run()
  self.url = "nats://127.0.0.1:" .. self.port
  return self
end

--- Starts three servers that are one cluster. `url` names them all.
-- @treturn table a list of servers, with `url`
function Nats.cluster()
  local routes, ports, list, urls = {}, {}, {}, {}
  for i = 1, 3 do
    ports[i] = Process.freePort()
    routes[i] = "nats://127.0.0.1:" .. ports[i]
  end
  for i = 1, 3 do
    list[i] = Nats.start {arguments = {"--name", "n" .. i, "--cluster_name", "spec",
      "--cluster", routes[i], "--routes", table.concat(routes, ",")}}
    -- One that can't have its second port ends, behind its first.
    list[i].process:expect("stderr", "Listening for route connections")
    urls[i] = "127.0.0.1:" .. list[i].port
  end
  list.url = "nats://" .. table.concat(urls, ",")
  return list
end

function Nats:signal(name)
  self.process:kill(name)
  if name == "KILL" then self.process:wait() end
end

--- Ends all servers, and removes what they kept. For after_each, together with
-- Process.cleanUp.
function Nats.cleanUp()
  for process in pairs(running) do
    process:kill("KILL")
    if not process.ended then process:wait() end
  end
  for _, folder in ipairs(folders) do os.execute("rm -rf " .. folder) end
  running, folders = {}, {}
end

return Nats
