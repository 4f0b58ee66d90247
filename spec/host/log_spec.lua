-- The log's way out of a process: who reads it slowly, or not at all, and who closes it.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

-- A server that logs much for each message that it sends back, on a free port.
local SERVER = [[
  local sync = require "sync"
  local Echo = sync.Protocol:extend("Echo")
  Echo.framing = "line"
  function Echo:onData(data)
    for i = 1, 10 do sync.log.info(("line %s "):format(data) .. ("x"):rep(990)) end
    self:send(data)
  end
  sync.enable("127.0.0.1", tonumber((...)), Echo)
  sync.start()
]]

-- Starts a script with a pipe as standard error that the process itself holds open, so that
-- nobody reads it before a spec does. Returns the pipe's path, too.
local function startUnread(code, ...)
  local pipe = Process.file()
  local process = Process.start {"sh", "-c", 'mkfifo "$0" && exec 9<>"$0" && exec "$@" 2>"$0"',
    pipe, Program.path, Process.file(code), ...}
  return process, pipe
end

local function connect(port)
  return Process.eventually("the server listens", function()
    return require("socket").connect("127.0.0.1", port)
  end)
end

-- Lets a server log ten lines of 1,000 bytes for each of so many messages.
local function talk(client, count)
  client:settimeout(Process.BOUND)
  for i = 1, count do
    assert(client:send(i .. "\n"))
    assert.equal(tostring(i), client:receive("*l"))
  end
end

describe("the log", function()
  after_each(Process.cleanUp)

  it("that nobody reads keeps nobody waiting, and the server stops when told", function()
    local port = Process.freePort()
    local process = startUnread(SERVER, port)
    talk(connect(port), 200)
    process:kill("TERM")
    assert.equal(0, process:wait(10))
  end)

  it("that nobody reads doesn't keep a script from failing", function()
    local process = startUnread [[
      local log = require "sync".log
      for _ = 1, 1000 do log.info(("x"):rep(1000)) end
      error("oh no")
    ]]
    assert.equal(1, process:wait(10))
  end)

  it("says how many lines it dropped when it is read again, and cuts none", function()
    local port = Process.freePort()
    local _, pipe = startUnread(SERVER, port)
    local client = connect(port)
    talk(client, 200)
    local reader = Process.start {"cat", pipe}
    reader:expect("stdout", "ERROR %d+ lines of the log were dropped: it was not read in time")
    talk(client, 1)
    Process.eventually("all lines that were not dropped", function()
      local lines, dropped = 0, 0
      for line in reader:stdout():gmatch("[^\n]+") do
        dropped = dropped + (line:match("ERROR (%d+) lines of the log were dropped") or 0)
        if line:find("line %d+ x+$") then
          assert.matches("^%d%d:%d%d:%d%d INFO  line %d+ x+$", line)
          assert.equal(990, #line:match("x+$"))
          lines = lines + 1
        end
      end
      return lines + dropped == 2010
    end)
  end)

  it("goes to /dev/null where standard files are closed, and into nothing else", function()
    local port = Process.freePort()
    local process = Process.start {"sh", "-c", 'exec "$0" "$@" <&- >&- 2>&-', Program.path,
      Process.file(SERVER), port}
    talk(connect(port), 5)
    for fd = 0, 2 do
      local link = io.popen(("readlink /proc/%d/fd/%d"):format(process.pid, fd))
      assert.equal("/dev/null", link:read("*l"))
      link:close()
    end
    process:kill("TERM")
    assert.equal(0, process:wait(10))
  end)
end)
