-- The program under test, SYNC_LUA or ./sync-lua, and clients of another make for it.

local Process = require "spec.support.process"
local socket = require "socket"

local Program = {path = os.getenv "SYNC_LUA" or "./sync-lua"}

--- Whether it's `make check`'s, with the sanitizers in it, which lies in a folder of their name.
-- What specs must know of that is below, and nowhere else: sanitizers keep freed memory for a
-- while, to see who still touches it; they have a malloc of their own, and addresses by the
-- terabyte; they want to be the first library; and they make a program twice as large, which is
-- never shipped.
Program.sanitized = Program.path:find("asan", 1, true) ~= nil

local KEPT = 1024 * 1024 -- KiB that sanitizers keep at most, with the bounds of what they give out

--- Kibibytes that a process may have in use which itself needs no more than so many.
function Program.bound(kibibytes)
  return kibibytes + (Program.sanitized and KEPT or 0)
end

--- Whether the C library counts what it gives out, and a process can be bound to so much memory.
function Program.countsMemory()
  if Program.sanitized then return false end
  local _, out = Program.run("-e", 'print(require "sync.core".C.sync_memory_used() > 0)')
  return out == "true\n"
end

--- Starts it behind a library that is loaded first. Further arguments are its own.
-- @tparam string library
-- @tparam table variables of the environment, by name
function Program.startBehind(library, variables, ...)
  local command = {"env", "LD_PRELOAD=" .. library,
    "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0"}
  for name, value in pairs(variables) do command[#command + 1] = name .. "=" .. value end
  command[#command + 1] = Program.path
  for _, argument in ipairs {...} do command[#command + 1] = argument end
  return Process.start(command)
end

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

--- Sends a line by LuaSocket, and returns the next one that comes.
function Program.ask(client, line)
  client:send(line .. "\n")
  return (client:receive "*l")
end

--- Upgrades a process.
-- @treturn number the exit code
-- @treturn string what was said
-- @treturn number|nil the process that has taken over
function Program.upgrade(process)
  local code, out, err = Program.run("upgrade", process)
  return code, out .. err, tonumber((out:match "process (%d+) has taken over"))
end

--- Starts nc.
function Program.nc(...)
  return Process.start {"nc", ...}
end

return Program
