-- The command line of sync-lua.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local run, runCode, file = Program.run, Program.runCode, Process.file

describe("sync-lua", function()
  after_each(Process.cleanUp)

  describe("runs", function()
    it("a script with its arguments", function()
      local script = file 'print(arg[0] ~= nil, #arg, arg[1], ...) return 5'
      local code, out, err = run(script, "one", "--two", "-e")
      assert.equal("true\t3\tone\tone\t--two\t-e\n", out)
      assert.equal("", err)
      assert.equal(0, code)
    end)

    it("a script with arg as luajit has it", function()
      local script = file 'print(arg[0], arg[-1], arg[-2])'
      local _, out = run("--jit=on", script)
      assert.equal(("%s\t--jit=on\t%s\n"):format(script, Program.path), out)
    end)

    it("code of -e, in order, before a script", function()
      local code, out = run("-e", "x = 1", "-e", "x = x + 1", file "print(x)")
      assert.equal("2\n", out)
      assert.equal(0, code)
      code, out = run("-e", "print(1 + 1)")
      assert.equal("2\n", out)
      assert.equal(0, code)
    end)

    it("a script whose lines are read while it runs", function()
      local process = Program.start(file 'print("here", 1) io.read() print("gone")')
      process:expect("stdout", "here\t1\n")
      process:closeInput()
      assert.equal(0, process:wait())
      assert.equal("here\t1\ngone\n", process:stdout())
    end)

    it("standard input for -", function()
      local process = Program.start("-", "one")
      process:write 'print("from stdin", ...)'
      process:closeInput()
      assert.equal(0, process:wait())
      assert.equal("from stdin\tone\n", process:stdout())
    end)

    it("no server that serves nothing, and says so", function()
      local code, _, err = runCode 'require "sync".start()'
      assert.equal(1, code)
      assert.matches("sync.start: there is nothing to serve: no port, timer or connection", err, 1,
        true)
      code, _, err = runCode [[
        local sync = require "sync"
        sync.after(0, function() end)
        sync.start()
      ]]
      assert.same({0, ""}, {code, err})
      code = runCode [[
        local sync = require "sync"
        local Ending = sync.Protocol:extend("Ending")
        function Ending:onStart() sync.stop() end
        sync.enable("127.0.0.1", 0, Ending)
        sync.start()
      ]]
      assert.equal(0, code)
    end)

    it("plain LuaJIT scripts: ffi, bit, string.buffer or not, and C modules", function()
      local code, out, err = runCode [[
        local ffi, bit = require "ffi", require "bit"
        local socket = require "socket"
        assert(ffi.sizeof("int") == 4 and bit.bor(1, 2) == 3 and socket.tcp)
        print(require "cjson".encode {1, 2})
      ]]
      assert.equal("", err)
      assert.equal("[1,2]\n", out)
      assert.equal(0, code)
    end)

    it("busted", function()
      local spec = file([[describe("x", function() it("y", function() end) end)
        it("z", function() assert.equal(1, 2) end)]], ".lua")
      local busted = Process.start {"sh", "-c", 'exec "$0" "$(command -v busted)" ' ..
        '-C / --output=TAP --pattern=. "$1"', Program.path, spec}
      busted:closeInput()
      assert.equal(1, busted:wait())
      assert.matches("ok 1 %- x y", busted:stdout())
      assert.matches("not ok 2 %- z", busted:stdout())
      assert.equal("", busted:stderr())
    end)

    it("a module first with -l", function()
      local code, out = run("-l", "cjson", "-e", "print(cjson.encode {true})")
      assert.equal("[true]\n", out)
      assert.equal(0, code)
    end)

    it("from any folder, with nothing but itself", function()
      local copy = file()
      local script = file [[
        require "sync"
        for _, name in ipairs {"echo", "line", "xmlsocket", "chat"} do
          require("sync.protocols." .. name)
        end
        print("all there")
      ]]
      local shell = Process.start {"sh", "-c", 'cp "$0" "$1" && cd / && ' ..
        'exec env -i LUA_PATH=/none/?.lua LUA_CPATH=/none/?.so "$1" "$2"',
        Program.path, copy, script}
      shell:closeInput()
      local code = shell:wait()
      assert.equal("all there\n", shell:stdout(), shell:stderr())
      assert.equal(0, code)
    end)
  end)

  describe("says", function()
    it("--help", function()
      for _, option in ipairs {"--help", "-h"} do
        local code, out, err = run(option)
        assert.equal(0, code)
        assert.equal("", err)
        assert.matches("^usage: sync%-lua %[options%] script", out)
        for _, name in ipairs {"--check", "--jit=on|off", "--jit-report", "--log=", "-e CODE",
          "--version", "SIGTERM"} do
          assert.truthy(out:find(name, 1, true), name)
        end
        for line in out:gmatch("[^\n]+") do assert.is_true(#line <= 90, line) end
      end
    end)

    it("--version", function()
      for _, option in ipairs {"--version", "-v"} do
        local code, out = run(option)
        assert.equal(0, code)
        assert.matches("^sync%-lua %S+ %(LuaJIT 2.%S+, libuv %d+%.%d+%.%d+, io %l+: " ..
          "[^\n]+%)\n$", out)
        assert.equal(io.open("VERSION"):read(), out:match("^sync%-lua (%S+)"))
      end
    end)

    it("--io", function()
      local _, out = run("--io=poll", "--version")
      assert.matches("io poll: it was chosen%)", out)
      local _, own = run("--version")
      local _, auto = run("--io=poll", "--io=auto", "--version")
      assert.equal(own:match "io (%l+)", os.getenv "SYNC_IO" or auto:match "io (%l+)")
    end)
  end)

  it("--io-threads has uring's threads send and receive, as --version and /metrics say", function()
    local code, out, err = run("--io-threads=1", "--version")
    if code ~= 0 then
      assert.matches("%-%-io%-threads=1: [^\n]+\n", err) -- one core, or no io_uring
      return
    end
    assert.matches("io uring: it was chosen, with 1 thread%)", out)
    local script = file [[print(require "sync.http.panel".metrics():match "sync_io_threads (%d+)")]]
    local _, metrics = run("--io-threads=1", script)
    assert.equal("1\n", metrics)
    local _, none = run("--io=poll", "--io-threads=0", script)
    assert.equal("0\n", none)
  end)

  describe("refuses", function()
    local function refuses(code, pattern, ...)
      local exit, out, err = run(...)
      assert.matches(pattern, err)
      assert.equal("", out)
      assert.equal(code, exit)
      return err
    end

    it("a way to the kernel that there isn't", function()
      refuses(2, "sync%-lua: %-%-io=smoke: there are auto, uring, epoll and poll", "--io=smoke",
        "--version")
    end)

    it("threads that there can't be", function()
      refuses(2, "sync%-lua: %-%-io%-threads takes a number from 0 to 64, not many",
        "--io-threads=many", "--version")
      refuses(2, "%-%-io%-threads=1: only uring has threads, and this is poll\n",
        "--io-threads=1", "--io=poll", "--version")
      local cores = tonumber((io.popen "nproc":read "*a"))
      if cores < 64 then
        refuses(2, ("%%-%%-io%%-threads=%d: "):format(cores), "--io-threads=" .. cores, "--version")
      end
      if cores > 1 then
        refuses(2, "%-%-workers and %-%-io%-threads both take cores: choose one", "--workers=2",
          "--io-threads=1", "x.lua")
      end
    end)

    it("an unknown option, with exit code 2", function()
      local err = refuses(2, "unrecognized option '%-%-jitter'", "--jitter", "x.lua")
      assert.matches("sync%-lua: see sync%-lua %-%-help\n$", err)
      refuses(2, "invalid option %-%- 'z'", "-z")
      refuses(2, "requires an argument", "-e")
    end)

    it("a wrong value, naming it", function()
      refuses(2, '^sync%-lua: %-%-jit takes on or off, not "fast"\n$', "--jit=fast", "x.lua")
      refuses(2, '^sync%-lua: log: "loud" is neither a level', "--log=loud", "x.lua")
      refuses(2, '^sync%-lua: unknown %-j command "x"', "-jx", "x.lua")
      refuses(2, "^sync%-lua: %-Ofast: .*unknown or malformed optimization flag 'fast'\n$",
        "-Ofast", "x.lua")
    end)

    it("to do nothing", function()
      refuses(2, "^sync%-lua: no script was given; see sync%-lua %-%-help\n$")
      refuses(2, "no script was given", "--jit=off")
    end)

    it("a script that is missing, in one line", function()
      refuses(1, "^sync%-lua: /no/such.lua: No such file or directory\n$", "/no/such.lua")
    end)

    it("a folder", function()
      refuses(1, "^sync%-lua: [^\n]*/[^\n]*\n$", "/")
    end)

    it("a syntax error, in one line with its place", function()
      local script = file "local x =\nlocal y = 1"
      refuses(1, "^sync%-lua: [^\n]*:2: unexpected symbol near 'local'\n$", script)
      refuses(2, "^sync%-lua: %(command line%):1: [^\n]*\n$", "-e", "x ==")
    end)

    it("a module that is missing", function()
      refuses(1, "module 'no.such' not found", "-l", "no.such", "-e", "")
    end)
  end)

  describe("tells", function()
    it("that a script lacks its first line", function()
      local _, _, err = runCode "sync.start()"
      assert.matches('begin the script with: local sync = require "sync"', err, 1, true)
    end)

    it("an error of the script with its traceback, and exits with 1", function()
      local code, _, err = runCode "local function inner() error('oops') end\ninner()"
      assert.matches("^sync%-lua: [^\n]*:1: oops\nstack traceback:\n.*in function 'inner'", err)
      assert.equal(1, code)
    end)

    it("an error of any kind", function()
      local code, _, err = runCode "error({})"
      assert.matches("error value is a table", err)
      assert.equal(1, code)
      code, _, err = runCode "error(setmetatable({}, {__tostring = function() return 'mine' end}))"
      assert.matches("^sync%-lua: mine\n", err)
      assert.equal(1, code)
      code, _, err = runCode "error()"
      assert.equal("", err)
      assert.equal(1, code)
    end)

    it("wrong use of SYNC in one line with its place", function()
      for code, message in pairs {
        ['require "sync".enable("localhost", 0)'] = ':1: sync.enable: the third argument ' ..
          'must be a protocol class',
        ['local s = require "sync"\ns.enable("localhost", 0, s.Protocol:extend "X", {prot = 1})'] =
          ":2: sync.enable: unknown option prot",
        ['require "sync".after("x")'] = ":1: sync.after%(seconds, fn%): seconds must be",
      } do
        local exit, _, err = runCode(code)
        assert.matches("^sync%-lua: [^\n]*" .. message .. "[^\n]*\n$", err)
        assert.equal(1, exit)
      end
    end)

    it("what exit code the script gives", function()
      assert.equal(7, (runCode "os.exit(7)"))
      assert.equal(0, (runCode "os.exit(true)"))
      assert.equal(1, (runCode "os.exit(false)"))
    end)

    it("that a script enables and never starts", function()
      local code, _, err = runCode [[
        local sync = require "sync"
        sync.enable("127.0.0.1", 0, sync.Protocol:extend("Echo"))
      ]]
      assert.matches("calls sync.enable, but not sync.start", err)
      assert.equal(1, code)
    end)
  end)

  describe("--check", function()
    local function check(code)
      local script = file(code)
      local exit, out, err = run("--check", script)
      return exit, (out:gsub(script, "SCRIPT", nil, true)), (err:gsub(script, "SCRIPT"))
    end

    it("finds nothing wrong with a good script, and does not serve it", function()
      local exit, out, err = check [[
        local sync = require "sync"
        local Echo = sync.Protocol:extend("Echo")
        function Echo:onData(data) self:send(data) end
        sync.enable("localhost", 1, Echo)
        sync.enable("unix:/no/such/folder/socket", Echo)
        sync.start()
      ]]
      assert.equal("", err)
      assert.matches("no mistake found\n$", out)
      assert.equal(0, exit)
    end)

    it("finds a syntax error", function()
      local exit, _, err = check "local = 5"
      assert.matches("^sync%-lua: SCRIPT:1: ", err)
      assert.equal(1, exit)
    end)

    it("finds a global variable that is made", function()
      local exit, _, err = check "local x = 1\ncounter = x\nfunction helper() end"
      assert.matches("SCRIPT:2: counter is made a global variable; did you mean local counter%?",
        err)
      assert.matches("SCRIPT:3: helper is made a global", err)
      assert.equal(1, exit)
    end)

    it("finds an enable without a start", function()
      local exit, _, err = check [[
        local sync = require "sync"
        sync.enable("localhost", 8080, sync.Protocol:extend("Echo"))
      ]]
      assert.matches("sync.enable is called, but not sync.start", err)
      assert.equal(1, exit)
    end)

    it("finds an unknown option, a misspelt handler and an error", function()
      local head = 'local sync = require "sync" local Echo = sync.Protocol:extend("Echo") '
      local exit, _, err = check(head .. 'sync.enable("localhost", 0, Echo, {frameing = "line"})')
      assert.matches("SCRIPT:1: sync.enable: unknown option frameing: did you mean framing%?",
        err)
      assert.equal(1, exit)
      exit, _, err = check(head .. 'function Echo:ondata() end sync.enable("localhost", 0, Echo)')
      assert.matches("class Echo sets ondata; did you mean onData%?", err)
      assert.equal(1, exit)
      exit, _, err = check(head .. "sync.enabel('localhost', 0, Echo)")
      assert.matches("SCRIPT:1: attempt to call field 'enabel'", err)
      assert.equal(1, exit)
    end)

    it("finds no mistake in the examples", function()
      for _, name in ipairs {"echo", "chat", "clock", "gameloop"} do
        local exit, out, err = run("--check", "examples/" .. name .. ".lua")
        assert.equal(("examples/%s.lua: no mistake found\n"):format(name), out, err)
        assert.equal(0, exit)
      end
    end)
  end)

  describe("--jit", function()
    it("=off interprets, =on compiles", function()
      local script = file "print((jit.status()))"
      assert.equal("false\n", select(2, run("--jit=off", script)))
      assert.equal("true\n", select(2, run("--jit=on", script)))
      assert.equal("true\n", select(2, run(script)))
    end)

    it("takes luajit's -j, -jv and -O", function()
      local script = file "local x = 0 for i = 1, 1000 do x = x + i end print(x, (jit.status()))"
      assert.equal("500500\tfalse\n", select(2, run("-joff", script)))
      local _, out, err = run("-jv", script)
      assert.matches("500500", out)
      assert.matches("%[TRACE%s+1 ", err .. out)
      assert.equal("500500\ttrue\n", select(2, run("-O1", script)))
      assert.equal("500500\ttrue\n", select(2, run("-O", script)))
    end)

    it("-report prints a report at the end", function()
      local code, _, err = runCode("print(1)", "--jit-report")
      assert.matches("no class was enabled", err)
      assert.equal(0, code)
      code, _, err = run("--jit-report", "-e", "print(1)")
      assert.matches("no class was enabled", err)
      assert.equal(0, code)
    end)
  end)
end)
