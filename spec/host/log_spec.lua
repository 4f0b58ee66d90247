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

-- A server that logs 1,000 lines of 1,000 bytes a second, whatever it is asked.
local CHATTY = [[
  local sync = require "sync"
  local Echo = sync.Protocol:extend("Echo")
  Echo.framing = "line"
  function Echo:onData(data) self:send(data) end
  sync.every(0.01, function()
    for _ = 1, 10 do sync.log.info(("x"):rep(980)) end
  end)
  sync.enable("127.0.0.1", tonumber((...)), Echo)
  sync.start()
]]

-- How long a log's reader is stopped. LOG_STOPPED=60 makes it a minute, and tells what was seen.
local STOPPED = tonumber(os.getenv "LOG_STOPPED")
local SLICES = 10

-- What 99 of 100 echoes take at most, in seconds: the median of so many slices of the time.
local function quickness(client, seconds)
  local socket, slices = require "socket", {}
  for slice = 1, SLICES do
    local times, ends = {}, socket.gettime() + seconds / SLICES
    repeat
      local begin = socket.gettime()
      assert(client:send "x\n")
      assert.equal("x", client:receive("*l"))
      times[#times + 1] = socket.gettime() - begin
    until socket.gettime() > ends
    table.sort(times)
    slices[slice] = times[math.ceil(#times * 0.99)]
  end
  table.sort(slices)
  return slices[SLICES / 2]
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

  it("whose reader stops keeps no echo waiting", function()
    local port, seconds = Process.freePort(), STOPPED or 1
    local _, pipe = startUnread(CHATTY, port)
    local client = connect(port)
    client:settimeout(Process.BOUND)
    local reader = Process.start {"cat", pipe}
    reader:expect("stdout", "x\n")
    local before = quickness(client, seconds)
    reader:kill "STOP"
    local stopped = quickness(client, seconds)
    reader:kill "CONT"
    reader:expect("stdout", "ERROR %d+ lines of the log were dropped")
    if STOPPED then
      print(("p99 of an echo: %.2f ms, with a stopped reader %.2f ms"):format(before * 1e3,
        stopped * 1e3))
    end
    assert.is_true(stopped < 2 * before + 0.01, ("%g s, before %g s"):format(stopped, before))
  end)

  it("says how many lines it dropped when it is read again, and cuts none", function()
    local port = Process.freePort()
    local _, pipe = startUnread(SERVER, port)
    local client = connect(port)
    talk(client, 200)
    local reader = Process.start {"cat", pipe}
    reader:expect("stdout",
      "ERROR %d+ lines of the log were dropped: it was not read, or written, in time")
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

  it("goes to a file that is opened anew at SIGHUP, as after it was moved away", function()
    for _, workers in ipairs {false, "--workers=2"} do
      local file = Process.file("before\n")
      local code = 'local sync = require "sync" ' .. Program.ECHO
      local process = Process.start {Program.path, "--log-file=" .. file, workers or "--jit=on",
        Process.file(code)}
      local function says(text)
        Process.eventually(text, function()
          local log = io.open(file)
          local found = log and log:read("*a")
          if log then log:close() end
          return found and found:find(text, 1, true)
        end)
      end
      says "before"
      says "listens on"
      assert(os.rename(file, file .. ".1"))
      process:kill "HUP"
      says "opened the log's file again"
      process:kill "TERM"
      assert.equal(0, (process:wait()))
      says(workers and "told to stop: stopping the workers" or "told to stop")
      assert.equal("", process:stderr())
      os.remove(file .. ".1")
    end
  end)

  it("keeps nobody waiting where the disk is full", function()
    local port = Process.freePort()
    local process = Process.start {Program.path, "--log-file=/dev/full", Process.file(SERVER), port}
    talk(connect(port), 200)
    process:kill "TERM"
    assert.equal(0, process:wait(10))
  end)

  it("goes on when a full disk has room again, and tells of each line that is not whole", function()
    local file, port = Process.file "", Process.freePort()
    -- A file of 50 KiB is as good as a disk.
    Process.start {"sh", "-c", 'trap "" XFSZ; ulimit -f 100; exec "$0" "$@"', Program.path,
      "--log-file=" .. file, Process.file(SERVER), port}
    local text = "" -- of all that was on the disk
    -- Looks what is there, and makes room when that is all that there can be.
    local function look()
      local log = assert(io.open(file))
      local now = log:read "*a"
      log:close()
      if #now < 100 * 512 then return text .. now end
      text = text .. now
      assert(io.open(file, "w")):close()
      return text
    end
    talk(connect(port), 20)
    Process.eventually("all lines are there, or told of", function()
      local lines, dropped = 0, 0
      for line in look():gmatch "[^\n]+" do
        local level, said = line:match "^%d%d:%d%d:%d%d (%u+) +(.*)$"
        if level == "ERROR" then
          dropped = dropped + said:match "^(%d+) lines of the log were dropped"
        elseif level == "INFO" and said:find("^line %d+ " .. ("x"):rep(990) .. "$") then
          lines = lines + 1
        end
      end
      return dropped > 0 and lines + dropped == 200
    end)
  end)

  it("says which file can't be opened", function()
    local code, _, err = Program.run("--log-file=/none/at/all", "-e", "print(1)")
    assert.equal(2, code)
    assert.matches("log: /none/at/all can't be opened: no such file or directory", err)
  end)

  it("of systemd's journal begins with priorities", function()
    local out = Process.file()
    local script = Process.file [[
      local log = require "sync".log
      log.info "one"
      log.error("two", {traceback = "three"})
    ]]
    local process = Process.start {"sh", "-c",
      'JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec "$@" 2>&2', out, Program.path, script}
    assert.equal(0, (process:wait()))
    assert.matches("^<6>[%d:]+ INFO  one\n<3>[%d:]+ ERROR two\n<3>    three\n$", process:stderr())
  end)
end)

describe("what is printed", function()
  after_each(Process.cleanUp)

  it("and read by nobody keeps nobody waiting, and is counted", function()
    local port = Process.freePort()
    local pipe = Process.file()
    local code = SERVER:gsub("sync%.log%.info", "print")
    local process = Process.start {"sh", "-c",
      'mkfifo "$0" && exec 9<>"$0" && exec "$@" >"$0"', pipe, Program.path,
      Process.file(code), port}
    talk(connect(port), 200)
    process:kill "TERM"
    assert.equal(0, process:wait(10))
    Process.start {"cat", pipe}
  end)

  it("comes in order, and whole, whatever the loop does", function()
    local code, out = Program.runCode [[
      local sync = require "sync"
      print("before", nil)
      sync.after(0, function()
        print("within", 1)
        io.write("written", 2, "\n")
        for i = 1, 1000 do print(("x"):rep(100)) end
      end)
      sync.start()
      io.write("behind\n")
      os.exit(3)
    ]]
    assert.equal(3, code)
    assert.equal("before\tnil\nwithin\t1\nwritten2\n" .. (("x"):rep(100) .. "\n"):rep(1000) ..
      "behind\n", out)
  end)
end)
