-- The watchdog: which handler keeps all others waiting, and where it is. What needs no Lua is in
-- spec/c/core/watchdog_test.c.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

-- Its handlers are stuck until a file is there, each in another way.
local SERVER = [[
  local sync = require "sync"
  local ffi = require "ffi"
  ffi.cdef "int access(const char *path, int mode);"
  local C, path = ffi.C, (...)
  local Stuck = sync.Protocol:extend("Stuck")
  Stuck.framing = "line"
  local acts = {}
  function acts.interpreted()
    repeat local file = io.open(path) until file -- line 9
  end
  local function isThere(n) return n % 1000 == 0 and C.access(path, 0) == 0 end
  function acts.compiled()
    local n = 0
    repeat
      n = n + 1
    until isThere(n) -- line 16
  end
  function acts.alone()
    local n = 0
    while n % 1000 > 0 or C.access(path, 0) ~= 0 do n = n + 1 end
  end
  function acts.read() return io.read("*l") end
  function acts.find() return (("a"):rep(40)):find(("a?"):rep(40) .. ("a"):rep(40)) end
  function acts.timer() sync.after(0, acts.interpreted) end
  function acts.task()
    sync.spawn(function()
      sync.sleep(0.001)
      acts.interpreted() -- line 28
    end)
  end
  function acts.waits(client)
    sync.sleep(0.001)
    acts.interpreted() -- line 33
    client:send("waited")
  end
  acts.waits = sync.waits(acts.waits)
  function acts.forever() while true do end end
  function acts.caught() while true do pcall(acts.forever) end end
  function acts.coroutine() coroutine.wrap(acts.caught)() end
  function acts.spawning() while true do sync.spawn(acts.forever) end end
  function acts.ours(client) while true do client.clients:send("noise") end end
  function acts.timerForever() sync.after(0, acts.forever) end
  function acts.taskForever() sync.spawn(function() sync.sleep(0.001) acts.caught() end) end
  acts.waitsForever = sync.waits(function() sync.sleep(0.001) acts.caught() end)
  function acts.compiles()
    local traces = 0
    local function count(what) traces = traces + (what == "stop" and 1 or 0) end
    jit.attach(count, "trace")
    local sum = 0
    for i = 1, 1000 do sum = sum + i % 7 end
    jit.attach(count)
    print("traces", traces > 0)
  end
  function Stuck:onData(name)
    if acts[name] then acts[name](self) end
    self:send("done")
  end
  sync.enable("127.0.0.1", 0, Stuck)
  sync.start()
]]

local STUCK = "a handler is stuck, nobody is served: "

describe("the watchdog", function()
  local released, server, port

  local function start(...)
    released = Process.file()
    local arguments = {...}
    local script = Process.file(SERVER)
    arguments[#arguments + 1] = script
    arguments[#arguments + 1] = released
    server = Program.start(unpack(arguments))
    server.script = script
    port = tonumber(server:expect("stderr", "listens on %S-:(%d+)"))
  end

  local function ask(name)
    local client = Program.connect(port)
    assert(client:send(name .. "\n"))
    return client
  end

  local function release()
    assert(io.open(released, "w")):close()
  end

  after_each(Process.cleanUp)

  -- Lets a handler be stuck. What the log says of that, and of its end.
  local function stuckIn(name, pattern)
    local client = ask(name)
    local found = {server:expect("stderr", pattern)}
    release()
    assert.equal("done", client:receive("*l"))
    server:expect("stderr", "the handler that was stuck has ended after about [%d.]+ s")
    os.remove(released)
    return unpack(found)
  end

  it("names handlers, with the line that runs and the client", function()
    start("--watchdog=0.2")
    local line = stuckIn("interpreted", STUCK ..
      "onData of Stuck has not ended for 0.%d s, at %S+:(%d+) address=127.0.0.1 client=1\n")
    assert.equal("9", line)
    line = stuckIn("compiled", STUCK .. "onData of Stuck has not ended for 0.%d s, at %S+:(%d+) " ..
      "address=127.0.0.1 client=2[ \n]")
    assert.is_true(tonumber(line) >= 11 and tonumber(line) <= 16)
  end)

  it("names a compiled loop that calls nobody, by where it begins", function()
    start("--watchdog=0.2")
    local line = stuckIn("alone", STUCK .. "onData of Stuck has not ended for 0.%d s, at " ..
      "%S+:(%d+) address=127.0.0.1 client=1 in=[^\n]*compiled code")
    assert.equal("20", line)
  end)

  it("names timers and functions that wait", function()
    start("--watchdog=0.2")
    for name, line in pairs {timer = 9, task = 28, waits = 33} do
      local client = ask(name)
      local trace = server:expect("stderr", STUCK .. "a timer has not ended for 0.%d s, at " ..
        "%S+:9(.*)")
      if line ~= 9 then assert.matches(":" .. line .. "\n", trace) end
      release()
      server:expect("stderr", "the handler that was stuck has ended")
      client:close()
      server:kill("KILL")
      start("--watchdog=0.2")
    end
  end)

  it("names calls of C, in a handler that waits for the system", function()
    start("--watchdog=0.2")
    local client = ask "read"
    local calls = server:expect("stderr", STUCK .. "onData of Stuck has not ended for 0.%d s " ..
      'address=127.0.0.1 client=1 in="(.-)"\n')
    assert.matches("^%S*read%S* < ", calls)
    server:write("\n")
    assert.equal("done", client:receive("*l"))
  end)

  it("names a handler that hangs in C, also as JSON", function()
    start("--watchdog=0.2", "--log=json")
    ask "find"
    local line = server:expect("stderr", '({[^\n]*a handler is stuck[^\n]*})\n')
    local entry = require "cjson".decode(line)
    assert.equal("error", entry.level)
    assert.equal("127.0.0.1", entry.address)
    assert.equal(1, entry.client)
    assert.matches("^onData of Stuck", entry.message:sub(#STUCK + 1))
    assert.matches("^%d+%-%d+%-%d+T%d+:%d+:%d+Z$", entry.time)
  end)

  it("gives each line its priority, where systemd's journal reads the log", function()
    local process = Process.start {"sh", "-c",
      'JOURNAL_STREAM=$(stat -Lc %d:%i /dev/stderr) exec "$@" 2>&2', "sh", Program.path,
      "--watchdog=0.1", Process.file [[
        local sync = require "sync"
        local function stand() repeat local file = io.open("/none/at/all") until file end
        sync.after(0, function() stand() end)
        sync.start()
      ]]}
    process:expect("stderr", "^<3>[%d:]+ ERROR a handler is stuck[^\n]*\n" ..
      "<3>    stack traceback:\n<3>    \t%S+:2\n<3>    \t%S+:3\n")
  end)

  it("can be turned off, and refuses what is no time", function()
    start("--watchdog=off")
    local tasks = io.popen("ls /proc/" .. server.pid .. "/task | wc -l"):read("*n")
    start("--watchdog=1")
    assert.equal(tasks + 1, io.popen("ls /proc/" .. server.pid .. "/task | wc -l"):read("*n"))
    local code, _, err = Program.run("--watchdog=soon", "-e", "")
    assert.equal(2, code)
    assert.matches('takes seconds from 0.05 to 86400, or off, not "soon"', err)
  end)

  it("leaves a profiler of the script's alone", function()
    local _, out = Program.runCode([[
      local sync = require "sync"
      local seen = 0
      require "jit.profile".start("i1", function(_, count) seen = seen + count end)
      sync.after(0, function()
        local last = os.clock() + 0.5
        while os.clock() < last do end
        print(seen > 0)
      end)
      sync.start()
    ]], "--watchdog=0.05")
    assert.matches("true", out)
  end)

  describe("ends handlers", function()
    local ENDED = "the handler was ended: it has run for 0.4 s"

    -- Somebody else is served.
    local function check()
      local other = ask "nothing"
      assert.equal("done", other:receive("*l"))
      other:close()
    end

    it("at the cost of their client, whatever they do", function()
      start("--watchdog=0.2", "--handler-timeout=0.4")
      for number, name in ipairs {"interpreted", "compiled", "forever", "caught", "coroutine",
        "spawning", "ours", "read"} do
        local client = ask(name)
        repeat local line, why = client:receive("*l") until not line and assert.equal("closed", why)
        check()
        if number <= 4 then -- the log has more of a kind in 10 s not
          Process.eventually(name .. " is in the log", function()
            local told = ("error in a handler, its client is closed: %s:%%d+: %s"):format(
              server.script, ENDED)
            return select(2, server:stderr():gsub(told, "")) == number
          end)
        end
      end
      ask "compiles"
      assert.equal("true", server:expect("stdout", "traces%s+(%a+)"))
    end)

    it("that are nobody's, and functions that wait", function()
      start("--watchdog=0.2", "--handler-timeout=0.4", "--jit=off")
      for name, pattern in pairs {timerForever = "error in a timer, no client is closed: ",
        taskForever = "error in a function of sync.spawn: "} do
        local client = ask(name)
        assert.equal("done", client:receive("*l"))
        server:expect("stderr", pattern .. "[^\n]*" .. ENDED)
        client:settimeout(0)
        assert.equal("timeout", select(2, client:receive("*l"))) -- no client is closed
        check()
      end
      local client = ask "waitsForever"
      client:settimeout(Process.BOUND)
      repeat local line, why = client:receive("*l") until not line and assert.equal("closed", why)
      check()
    end)

    it("or the process, with code 75, which workers are started again after", function()
      start("--watchdog=0.2", "--handler-timeout=0.4")
      ask "find"
      assert.equal(75, server:wait())
      assert.matches("the handler can't be ended: the process ends with code 75\n$",
        server:stderr())
      start("--watchdog=0.2", "--handler-timeout=0.4", "--workers=1")
      ask "find"
      server:expect("stderr", "worker 1 ended with code 75; it is started again")
      Process.eventually("the worker serves again", function()
        local client = require "socket".connect("127.0.0.1", port)
        if not client then return end
        client:settimeout(1)
        client:send("nothing\n")
        return client:receive("*l")
      end)
    end)

    it("of workers after 10 s by itself, and of one process never", function()
      local CODE = [[
        local sync = require "sync"
        sync.Protocol:extend("Any")
        print(require "sync.watchdog".handlerTimeout)
        sync.after(0, function() sync.stop() end)
        sync.start()
      ]]
      local _, out = Program.runCode(CODE)
      assert.equal("false\n", out)
      _, out = Program.runCode(CODE, "--workers=1")
      assert.equal("10\n", out)
      _, out = Program.runCode(CODE, "--workers=1", "--handler-timeout=off")
      assert.equal("false\n", out)
    end)
  end)
end)
