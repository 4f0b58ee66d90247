-- The program under test, SYNC_LUA or ./sync-lua, and clients of another make for it.

local Process = require "spec.support.process"
local socket = require "socket"

local Program = {path = os.getenv "SYNC_LUA" or "./sync-lua"}

--- Starts it with arguments.
function Program.start(...)
  return Process.start {Program.path, ...}
end

--- Runs it to its end.
-- @treturn number the exit code, or nil when a signal ended it
-- @treturn string what it printed
-- @treturn string what it printed to standard error
function Program.run(...)
  local process = Program.start(...)
  process:closeInput()
  local code = process:wait()
  return code, process:stdout(), process:stderr()
end

--- Runs a script that is given as text; further arguments are options.
function Program.runCode(code, ...)
  local arguments = {...}
  arguments[#arguments + 1] = Process.file(code)
  return Program.run(unpack(arguments))
end

--- Starts a server from a text that may use `sync`, and waits until it listens.
-- @treturn Process
-- @treturn number the first port its log names
function Program.serve(code, ...)
  local arguments = {...}
  arguments[#arguments + 1] = Process.file('local sync = require "sync" ' .. code)
  local process = Program.start(unpack(arguments))
  local port = process:expect("stderr", "listens on %S-:(%d+)")
  return process, tonumber(port)
end

--- A server that sends back to each client what it sends.
Program.ECHO = [[
  local Echo = sync.Protocol:extend("Echo")
  function Echo:onData(data) self:send(data) end
  sync.enable("127.0.0.1", 0, Echo)
  sync.start()
]]

--- Connects with LuaSocket. `receive` gives up after Process.BOUND seconds.
function Program.connect(port, host)
  local client = assert(socket.connect(host or "127.0.0.1", port))
  client:settimeout(Process.BOUND)
  client:setoption("tcp-nodelay", true)
  return client
end

--- Starts nc.
function Program.nc(...)
  return Process.start {"nc", ...}
end

return Program
