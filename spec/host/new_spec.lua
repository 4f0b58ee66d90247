-- `sync-lua new`: what it makes runs, and passes its own specs.
--
-- The program is copied to a folder of its own first: nothing of the tree may be needed.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local http = require "socket.http"

-- Runs a command in a folder, without the specs' own environment.
local IN_FOLDER = 'cd "$0" && exec env -u LUA_PATH -u LUA_CPATH "$@"'

describe("sync-lua new", function()
  local folder, program

  local function start(where, ...)
    return Process.start {"sh", "-c", IN_FOLDER, where, ...}
  end

  local function run(where, ...)
    local process = start(where, ...)
    process:closeInput()
    local code = process:wait()
    return code, process:stdout(), process:stderr()
  end

  local function new(...) return run(folder, program, "new", ...) end

  local function write(path, text)
    local file = assert(io.open(folder .. "/" .. path, "w"))
    file:write(text)
    file:close()
  end

  local function read(path)
    local file = assert(io.open(folder .. "/" .. path))
    local text = file:read("*a")
    file:close()
    return text
  end

  before_each(function()
    folder = Process.file()
    program = folder .. "/bin/sync-lua"
    assert.equal(0, os.execute(('mkdir -p "%s/bin" && cp "%s" "%s"'):format(folder, Program.path,
      program)))
  end)

  after_each(function()
    Process.cleanUp()
    os.execute(('rm -rf "%s"'):format(folder))
  end)

  describe("makes a project that", function()
    local project

    before_each(function()
      local code, out, err = new("my-game_2")
      assert.equal("", err)
      assert.equal(0, code)
      assert.matches("cd my%-game_2\n", out)
      project = folder .. "/my-game_2"
    end)

    it("serves its page and its functions", function()
      local server = start(project, program, "main.lua", "0")
      local port = server:expect("stderr", "listens on localhost:(%d+)")
      local page, status, headers = http.request(("http://localhost:%s/"):format(port))
      assert.equal(200, status)
      assert.matches("^text/html", headers["content-type"])
      assert.matches("<h1>my%-game_2</h1>", page)
      local script = page:match('<script type="module" src="([^"]+)">')
      local text, found = http.request(("http://localhost:%s/%s"):format(port, script))
      assert.equal(200, found)
      assert.equal(read("my-game_2/public/app.js"), text)
      local waiting, seen = {"sync.js"}, {} -- the client library, and what it imports
      while waiting[1] do
        local name = table.remove(waiting)
        text, found = http.request(("http://localhost:%s/%s"):format(port, name))
        assert.equal(200, found, name)
        seen[name] = true
        for other in text:gmatch 'from "%./([^"]+)"' do
          if not seen[other] then waiting[#waiting + 1] = other end
        end
      end
      assert.is_true(seen["sync-state.js"])

      local client = Program.connect(port, "localhost")
      client:send '{"jsonrpc":"2.0","id":1,"method":"join","params":["ann"]}\0'
      local answer = ""
      repeat
        local byte = assert(client:receive(1))
        answer = answer .. byte
      until byte == "\0"
      assert.same({jsonrpc = "2.0", id = 1, result = {"ann"}}, cjson.decode(answer:sub(1, -2)))
      client:close()
      server:kill("INT")
      assert.equal(0, (server:wait()))
      assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
    end)

    it("runs from another folder", function()
      local server = start("/", program, project .. "/main.lua", "0")
      local port = server:expect("stderr", "listens on localhost:(%d+)")
      assert.equal(200, (select(2, http.request(("http://localhost:%s/"):format(port)))))
    end)

    it("passes its specs, alone and beside others", function()
      local busted = assert(io.popen("command -v busted")):read("*l")
      local code, out, err = run(project, program, busted, "-o", "TAP")
      assert.equal(0, code, out .. err)
      local _, passed = out:gsub("%f[%w]ok %d+ %- the lobby", "")
      assert.is_true(passed >= 6, out)
      write("my-game_2/spec/another_spec.lua", read("my-game_2/spec/lobby_spec.lua"))
      local twice
      code, out, err = run(project, program, busted, "-o", "TAP")
      assert.equal(0, code, out .. err)
      _, twice = out:gsub("%f[%w]ok %d+ %- the lobby", "")
      assert.equal(2 * passed, twice)
    end)

    it("fails its specs when the protocol is wrong", function()
      local lobby = read("my-game_2/lobby.lua")
      local wrong, changes = lobby:gsub('fire%("onLeave"', 'fire("onGone"')
      assert.equal(1, changes)
      write("my-game_2/lobby.lua", wrong)
      local busted = assert(io.popen("command -v busted")):read("*l")
      local code, out = run(project, program, busted, "-o", "TAP")
      assert.equal(1, code)
      assert.matches("not ok %d+ %- the lobby tells who leaves", out)
    end)

    it("has no mistake, and no mark of a template is left", function()
      local code, out, err = run(project, program, "--check", "main.lua")
      assert.equal("main.lua: no mistake found\n", out, err)
      assert.equal(0, code)
      local _, marks = run(folder, "grep", "-r", "{{name", "my-game_2")
      assert.equal("", marks)
    end)

    it("lists the files that its README names", function()
      local readme = read("my-game_2/README.md")
      assert.matches("^# my%-game_2\n", readme)
      local names = 0
      for name in readme:gmatch("\n| `([^`]+)` |") do
        names = names + 1
        assert.truthy(io.open(project .. "/" .. name), name)
      end
      assert.equal(5, names)
    end)
  end)

  it("takes an empty folder, through a link, too", function()
    assert.equal(0, os.execute(('cd "%s" && mkdir empty && ln -s empty link'):format(folder)))
    assert.equal(0, (new("link")))
    assert.matches("^# link\n", read("empty/README.md"))
  end)

  it("refuses what is there, and changes nothing", function()
    write("file", "mine")
    assert.equal(0, os.execute(('cd "%s" && mkdir full && touch full/.hidden && ' ..
      'ln -s nowhere dangling'):format(folder)))
    for name, message in pairs {file = "file is there, and is no folder\n",
      full = "full is there, and is not empty\n", dangling = "dangling"} do
      local code, out, err = new(name)
      assert.equal("", out)
      assert.truthy(err:find("sync-lua new: ", 1, true) == 1 and err:find(message, 1, true), err)
      assert.equal(1, code)
    end
    assert.equal("mine", read("file"))
    assert.equal(".hidden\n", (select(2, run(folder .. "/full", "ls", "-A"))))
  end)

  it("tells what keeps it from writing", function()
    local code, out, err = run("/proc", program, "new", "game") -- not even root may
    assert.equal("", out)
    assert.matches("^sync%-lua new: mkdir: [^\n]*game[^\n]*\n$", err)
    assert.equal(1, code)
  end)

  it("refuses names that could mean something elsewhere", function()
    for _, name in ipairs {"", ".", "..", "a/b", "/tmp/x", "../x", "a b", "a;ls", "$(ls)", "1st",
      "-x", "--force", "_x", "é", "a\nb", "a.b", ("x"):rep(65)} do
      local code, out, err = new(name)
      assert.equal("", out)
      assert.matches("^sync%-lua new: [^\n]*name[^\n]*\n$", err)
      assert.equal(2, code)
    end
    assert.equal("bin\n", (select(2, run(folder, "ls", "-A"))))
    assert.equal(0, (new(("x"):rep(64))))
  end)

  it("wants one name", function()
    for _, names in ipairs {{}, {"a", "b"}} do
      local code, out, err = new(unpack(names))
      assert.equal("", out)
      assert.equal("sync-lua new: it takes one name; see sync-lua new --help\n", err)
      assert.equal(2, code)
    end
  end)

  it("says --help, as sync-lua --help says that there is new", function()
    for _, option in ipairs {"--help", "-h"} do
      local code, out, err = new(option)
      assert.equal("", err)
      assert.matches("^usage: sync%-lua new NAME\n", out)
      assert.equal(0, code)
    end
    assert.matches("\n +sync%-lua new NAME\n", (select(2, run(folder, program, "--help"))))
  end)

  it("leaves ./new, a script, alone", function()
    write("new", "print('a script', ...)")
    local code, out = run(folder, program, "./new", "game")
    assert.equal("a script\tgame\n", out)
    assert.equal(0, code)
    assert.equal(0, (new("game")))
    assert.matches("^# game\n", read("game/README.md"))
  end)
end)
