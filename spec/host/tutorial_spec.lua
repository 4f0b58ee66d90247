-- The tutorial: its files are taken out of docs/tutorial.md, run as it says, and tried by
-- clients, the pages in Chromium. What it says that is printed must be printed.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"

local CHROMIUM = os.getenv "CHROMIUM" or "/usr/bin/chromium"

local connect, eventually = Program.connect, Process.eventually

local function read(path)
  local file = assert(io.open(path))
  local text = file:read("*a")
  file:close()
  return text
end

local tutorial = read "docs/tutorial.md"

-- Runs before each server: gives it a free port, or PORT, lets pages say something to
-- standard output, makes clocks run faster where HURRY says how much, and waits AWAY seconds
-- for who has gone. The port for programs need not wait to see that a client is one.
local BEFORE = [[
  local sync = require "sync"
  local enable, after = sync.enable, sync.after
  function sync.enable(host, port, class, options)
    if options and options.web then
      class.routes["POST /say"] = function(request)
        print(request.body)
        io.stdout:flush()
        return 204
      end
    end
    if port == 8081 then options.transports = {"tcp"} end
    if AWAY then class.resumeTime = AWAY end
    return enable(host, port == 8080 and PORT or 0, class, options)
  end
  function sync.after(seconds, fn) return after(seconds / (HURRY or 1), fn) end
]]

-- A page that holds two frames of the server's own, and what a script of the specs can do
-- with them. What it awaits it says, so that a failure tells how far it came.
local DRIVER = [[
<!doctype html><iframe src="/"></iframe><iframe src="/"></iframe><script type="module">
  const say = body => fetch("/say", {method: "POST", body});
  const frames = [...document.querySelectorAll("iframe")];
  const $ = (i, id) => frames[i].contentDocument.getElementById(id);
  const text = (i, id) => $(i, id)?.textContent ?? "";
  async function until(what, test) {
    await say(what).catch(() => {}); // the server may be away
    for (let result, tries = 0; ; await new Promise(done => setTimeout(done, 10))) {
      if ((result = test())) return result;
      if (++tries === 1000) { // what is shown instead
        await say(frames.map(frame => frame.contentDocument?.body.innerText).join("|"))
          .catch(() => {});
      }
    }
  }
  function states(i, id, seen = [text(i, id)]) {
    new MutationObserver(() => seen.push(text(i, id))).observe($(i, id), {childList: true});
    return seen;
  }
  addEventListener("error", event => say(`ERROR ${event.message}`));
  addEventListener("unhandledrejection", event => say(`ERROR ${event.reason}`));
  %s
  await say("all is well");
</script>]]

describe("the tutorial:", function()
  local folder, program

  local function write(path, text)
    local file = assert(io.open(folder .. "/" .. path, "w"))
    file:write(text)
    file:close()
  end

  -- Starts something in the folder.
  local function start(...)
    return Process.start {"sh", "-c", 'cd "$0" && exec "$@"', folder, ...}
  end

  -- Starts a server of the tutorial. Returns it and its ports.
  local function serve(script, globals)
    local server = start(program, "-e", "PORT = " .. Process.freePort(), "-e", globals or "",
      "-e", BEFORE, script)
    local line = server:expect("stderr", "listens on ([^\n]+) %(try: [^\n]+")
    local ports = {}
    for port in line:gmatch(":(%d+)") do ports[#ports + 1] = port end
    return server, unpack(ports)
  end

  local function stop(server)
    server:kill("INT")
    assert.equal(0, (server:wait()))
  end

  local function noError(server)
    assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  end

  -- Lets a script drive two pages in a browser.
  local function drive(port, where, script)
    write(where .. "/drive.html", (DRIVER:gsub("%%s", function() return script end)))
    return start(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu",
      "--disable-dev-shm-usage", "--user-data-dir=" .. folder .. "/profile",
      ("http://localhost:%s/drive.html"):format(port))
  end

  local function expectWell(server, browser)
    eventually(function()
      return "the pages do all that they should:\n" .. server:stdout() .. browser:stderr():sub(-500)
    end, function()
      assert.is_nil(server:stdout():match("ERROR[^\n]*"))
      return server:stdout():find("all is well", 1, true)
    end)
    browser:kill("TERM")
    browser:wait() -- it still writes into its profile
  end

  before_each(function()
    folder = Process.file()
    assert.equal(0, os.execute(("mkdir '%s'"):format(folder)))
    local here = assert(io.popen("pwd")):read("*l")
    program = Program.path:find("^/") and Program.path or here .. "/" .. Program.path
    for path, text in tutorial:gmatch("\n%*%*([%w./]+)%*%*\n\n```%w+\n(.-\n)```\n") do
      if path:find("/") then
        os.execute(("mkdir -p '%s/%s'"):format(folder, path:match("^(.*)/")))
      end
      write(path, text)
    end
  end)

  after_each(function()
    Process.cleanUp()
    -- A browser's helpers end a little later than it, and still write.
    os.execute(("until rm -rf '%s' 2>/dev/null; do sleep 0.1; done"):format(folder))
  end)

  -- The n-th block of a kind that names no file, in one line.
  local function block(kind, n)
    for text in tutorial:gmatch("\n```" .. kind .. "\n(.-)\n```\n") do
      n = n - 1
      if n == 0 then return text end
    end
    error("there is no such block")
  end

  it("each block of Lua and HTML is a file, and has no mistake", function()
    local blocks, scripts = 0, 0
    for before in tutorial:gmatch("([^\n]*)\n\n```[lh][ut][am]l?\n") do
      blocks = blocks + 1
      local path = before:match("^%*%*([%w./]+)%*%*$")
      assert.truthy(path, before)
      if path:find("%.lua$") then
        scripts = scripts + 1
        local check = start(program, "--check", path)
        check:wait()
        assert.equal(path .. ": no mistake found\n", check:stdout(), check:stderr())
      end
    end
    assert.equal(4, scripts)
    assert.equal(6, blocks)
    assert.equal(blocks, select(2, tutorial:gsub("\n```lua\n", "")) +
      select(2, tutorial:gsub("\n```html\n", "")))
  end)

  it("its game is the one in examples/duel", function()
    for _, path in ipairs {"duel.lua", "duel/index.html"} do
      assert.equal(read("examples/duel/" .. path), read(folder .. "/" .. path))
    end
  end)

  it("each command that it lets one type is there", function()
    local scripts = 0
    for script in tutorial:gmatch("\nsync%-lua ([%w.]+)\n") do
      scripts = scripts + 1
      assert.truthy(io.open(folder .. "/" .. script), script)
    end
    assert.equal(4, scripts)
  end)

  describe("echo", function()
    it("repeats to all; an error costs one client", function()
      local server, port = serve("echo.lua")
      local ann = Program.nc("localhost", port)
      ann:write("ann is here\n")
      ann:expect("stdout", "ann is here\n")
      local bob = connect(port, "localhost") -- now, or it may hear of ann
      bob:send("bob is here\n")
      ann:expect("stdout", "bob is here\n")
      assert.equal("bob is here", bob:receive("*l"))
      bob:send("oops\nI go on\n")
      assert.equal("closed", (select(2, bob:receive("*l"))))
      server:expect("stderr", "echo.lua:7: a mistake")
      ann:write("still here\n")
      ann:expect("stdout", "still here\n")
      assert.is_nil(ann:stdout():find("I go on", 1, true))
      stop(server)
    end)

    it("can't be started twice on a port, and can be started again", function()
      local server, port = serve("echo.lua")
      local second = start(program, "-e", "PORT = " .. port, "-e", BEFORE, "echo.lua")
      assert.equal(1, (second:wait()))
      local said = block("text", 1):gsub("8080", port)
      assert.truthy(second:stderr():find(said, 1, true), second:stderr())
      stop(server)
      noError(server)
      local third, again = serve("echo.lua", "PORT = " .. port)
      assert.equal(port, again)
      stop(third)
    end)

    it("misspelt is found by --check", function()
      local text, changes = read(folder .. "/echo.lua"):gsub("onData", "ondata")
      assert.equal(1, changes)
      write("echo.lua", text)
      local check = start(program, "--check", "echo.lua")
      assert.equal(1, (check:wait()))
      assert.truthy(check:stderr():find(block("text", 2), 1, true), check:stderr())
    end)
  end)

  describe("chat", function()
    local function enter(port)
      local client = connect(port, "localhost")
      assert.equal("Welcome. There are /nick NAME and /join ROOM.", client:receive("*l"))
      return client, (assert(client:receive("*l")):match("^(guest%d+) has come to lobby$"))
    end

    it("has rooms and names", function()
      local server, port = serve("chat.lua")
      local ann, annsName = enter(port)
      local bob, bobsName = enter(port)
      assert.equal(bobsName .. " has come to lobby", ann:receive("*l"))
      ann:send("hello\n/nick ann\nagain\n/nonsense\n/join garden\nalone\n")
      for _, line in ipairs {annsName .. ": hello", "ann: again"} do
        assert.equal(line, ann:receive("*l"))
        assert.equal(line, bob:receive("*l"))
      end
      assert.equal("There are /nick NAME and /join ROOM.", ann:receive("*l"))
      assert.equal("ann has come to garden", ann:receive("*l"))
      assert.equal("ann: alone", ann:receive("*l"))
      assert.equal("ann has left", bob:receive("*l"))
      bob:send("/join garden\n")
      assert.equal(bobsName .. " has come to garden", bob:receive("*l"))
      assert.equal(bobsName .. " has come to garden", ann:receive("*l"))
      ann:close()
      assert.equal("ann has left", bob:receive("*l"))
      stop(server)
      noError(server)
    end)

    it("closes whoever says too much, and tells the others", function()
      local server, port = serve("chat.lua")
      local ann = enter(port)
      local longest = ("y"):rep(500)
      ann:send(longest .. "\n")
      assert.matches("^guest%d+: y+$", ann:receive("*l"))
      local command = start("sh", "-c", (block("sh", 4):gsub("8080", port)))
      command:wait()
      local line
      repeat line = assert(ann:receive("*l")) until line:find("has left")
      stop(server)
    end)
  end)

  describe("dice", function()
    it("are rolled by pages, which come back after a restart", function()
      local server, port = serve("dice.lua")
      local browser = drive(port, "dice", [=[
        const roll = (i, sides) => {
          $(i, "sides").value = sides;
          $(i, "form").requestSubmit();
        };
        const newest = i => $(i, "rolls").firstElementChild?.textContent ?? "";
        await until("open", () => [0, 1].every(i => text(i, "state") === "open"));
        roll(0, 6);
        const number = (await until("rolled", () => newest(0).match(/^you roll ([1-6])$/)))[1];
        await until("heard", () =>
          newest(1).match(/^player \d+ rolls (\d) of 6$/)?.[1] === number);
        roll(1, 1);
        await until("a fault", () => newest(1) === "a die has 2 to 100 sides");
        roll(1, 6.5);
        await until("wrong arguments", () => newest(1).includes("must be a whole number"));
        for (let i = 0; i < 15; i++) roll(0, 6);
        await until("too often", () => text(0, "rolls").includes("too often"));
        const seen = states(0, "state");
        await until("restart", () => seen.includes("waiting"));
        await until("back", () => seen.at(-1) === "open");
      ]=])
      server:expect("stdout", "(restart)")
      stop(server)
      noError(server)
      local second = serve("dice.lua", "PORT = " .. port)
      expectWell(second, browser)
      stop(second)
    end)
  end)

  describe("noughts and crosses", function()
    -- A player of the second port: `call` sends, `expect` waits for an event or an answer.
    local function enter(port)
      local player = {socket = connect(port, "localhost"), count = 0, id = 0}
      function player.call(name, params)
        player.id = name == "sync.resume" and "resume" or player.id + 1
        player.socket:send(cjson.encode {jsonrpc = "2.0", id = player.id, method = name,
          params = params} .. "\n")
      end
      function player.next()
        local line = assert(player.socket:receive("*l"))
        local message = cjson.decode(line)
        if message.method ~= "sync.session" and message.id ~= "resume" and
          message.method ~= "sync.patch" then
          player.count = player.count + 1
        end
        return message
      end
      -- The arguments of the next event of this name.
      function player.event(name)
        local message
        repeat message = player.next() until message.method == name
        return unpack(message.params)
      end
      -- The answer to the last call.
      function player.answer()
        local message
        repeat message = player.next() until message.id == player.id
        return message
      end
      function player.join()
        player.call("sync.join", {room = "Duel"})
        player.room = player.answer().result.room
      end
      -- Returns the fault's text, if there is one.
      function player.put(cell)
        player.call("sync.call", {room = player.room, method = "put", params = {cell}})
        return (player.answer().error or {}).message
      end
      -- The end of the game, as patches tell it: who has won, and why.
      function player.over()
        while true do
          local patch = player.event("sync.patch")
          for _, part in ipairs {"change", "new", "seen"} do
            local entry = (patch[part] or {})[""]
            local fields = entry and entry[1][#entry[1]]
            if fields and fields.winner then return fields.winner, fields.why end
          end
        end
      end
      player.token = player.event("sync.session").token
      return player
    end

    -- Two that play: X and O.
    local function begin(port)
      local x, o = enter(port), enter(port)
      x.join()
      o.join()
      return x, o
    end

    it("answer who cheats as the tutorial says", function()
      local server, _, port = serve("duel.lua")
      local liar = enter(port)
      liar.socket:send(block("json", 1) .. "\n")
      liar.id = 2
      assert.same(cjson.decode(block("json", 2)), liar.answer())
      liar.call("sync.leave", {room = 1})
      assert.is_true(liar.answer().result)
      local x, o = begin(port)
      assert.equal("it is not your turn", o.put(1))
      assert.is_nil(x.put(5))
      assert.equal("it is not your turn", x.put(1))
      for _, cell in ipairs {5, 0, 10, -1} do
        assert.equal("that cell is not free", o.put(cell))
      end
      stop(server)
      noError(server)
    end)

    local function play(x, o, cells)
      for i, cell in ipairs(cells) do assert.is_nil((i % 2 == 1 and x or o).put(cell)) end
    end

    it("are won by three in a row, or by nobody, and played again", function()
      local server, _, port = serve("duel.lua")
      local x, o = begin(port)
      play(x, o, {1, 4, 2, 5})
      x.call("sync.call", {room = x.room, method = "put", params = {3}})
      for _, player in ipairs {x, o} do
        assert.same({"X", "three in a row"}, {player.over()})
      end
      assert.equal("it is not your turn", o.put(9))
      o.join()
      x.join()
      play(o, x, {1, 2, 3, 5, 4, 6, 8, 7}) -- who waited begins
      o.call("sync.call", {room = o.room, method = "put", params = {9}})
      for _, player in ipairs {x, o} do
        assert.same({"nobody", "the board is full"}, {player.over()})
      end
      stop(server)
      noError(server)
    end)

    it("are played across four workers without a change", function()
      local server = start(program, "--workers=4", "-e", "PORT = " .. Process.freePort(), "-e",
        BEFORE, "duel.lua")
      local port = server:expect("stderr", "listens on [^\n]-, [^\n]-:(%d+) %(try: [^\n]+")
      Process.eventually("workers know each other", function()
        return select(2, server:stderr():gsub("node %d is there", "")) >= 12
      end)
      for _ = 1, 4 do -- connections go to the worker that has the fewest
        local x, o = enter(port), enter(port)
        x.call("sync.create", {room = "Duel", options = {private = true}})
        local made = x.answer().result
        x.room = made.room
        o.call("sync.joinByCode", {code = made.code})
        o.room = o.answer().result.room
        play(x, o, {1, 4, 2, 5})
        x.call("sync.call", {room = x.room, method = "put", params = {3}})
        for _, player in ipairs {x, o} do
          assert.same({"X", "three in a row"}, {player.over()})
        end
      end
      local x, o = begin(port) -- by filter
      play(x, o, {5, 1})
      stop(server)
      noError(server)
    end)

    it("are lost by whom the clock runs out for", function()
      local server, _, port = serve("duel.lua", "HURRY = 15")
      local x, o = begin(port)
      for _, player in ipairs {x, o} do
        assert.same({"O", "the time is up"}, {player.over()})
      end
      stop(server)
      noError(server)
    end)

    it("are lost by who stays away", function()
      local server, _, port = serve("duel.lua", "AWAY = 0.2")
      local x, o = begin(port)
      x.socket:close()
      assert.same({"O", "the other one has left"}, {o.over()})
      stop(server)
      noError(server)
    end)

    it("go on for who comes back", function()
      local server, _, port = serve("duel.lua")
      local x, o = begin(port)
      x.socket:close()
      local back = enter(port)
      back.call("sync.resume", {x.token, x.count})
      assert.is_true(back.answer().result.resumed)
      back.id, back.room = 100, x.room
      assert.is_nil(back.put(5))
      local patch
      repeat patch = cjson.encode(o.event("sync.patch")) until
        patch:find('["","","","","X","","","",""]', 1, true)
      stop(server)
      noError(server)
    end)

    it("are played by two pages, which are ready again after a restart", function()
      local server, port = serve("duel.lua")
      local browser = drive(port, "duel", [=[
        const put = (i, cell) => $(i, "board").children[cell - 1].click();
        const shown = (i, cell) => $(i, "board").children[cell - 1].textContent;
        await until("ready", () => [0, 1].every(i => text(i, "text") === "Ready"));
        $(0, "play").click();
        $(1, "play").click();
        await until("begun", () => [0, 1].every(i => /^[XO]: /.test(text(i, "text"))));
        const x = text(0, "text").startsWith("X") ? 0 : 1;
        const o = 1 - x;
        await until("a clock", () => /^(1[0-5]|\d) s$/.test(text(o, "clock")));
        put(o, 1);
        await until("a fault", () => text(o, "text") === "it is not your turn");
        for (const [i, cell] of [[x, 1], [o, 4], [x, 2], [o, 5], [x, 3]]) {
          await until("turn", () => text(i, "text").endsWith("your turn"));
          put(i, cell);
          await until("put", () => [0, 1].every(j => shown(j, cell) === (i === x ? "X" : "O")));
        }
        await until("won", () => text(x, "text") === "You win: three in a row");
        await until("lost", () => text(o, "text") === "You lose: three in a row");
        $(x, "play").click();
        $(o, "play").click();
        await until("begun again", () => [0, 1].every(i => /^[XO]: /.test(text(i, "text"))));
        const seen = states(0, "text");
        await until("restart", () => seen.includes("the connection is lost …"));
        await until("back", () => [0, 1].every(i => text(i, "text") === "Ready"));
      ]=])
      server:expect("stdout", "(restart)")
      stop(server)
      noError(server)
      local second = serve("duel.lua", "PORT = " .. port)
      expectWell(second, browser)
      stop(second)
    end)
  end)

  it("its last command makes a project, whose page works", function()
    local name = block("sh", 7):match("^sync%-lua new (%w+)$")
    assert.equal(0, (start(program, "new", name):wait()))
    os.execute(("mv '%s/%s/'* '%s/'"):format(folder, name, folder))
    local server, port = serve("main.lua")
    local browser = drive(port, "public", [=[
      const type = (i, words) => {
        $(i, "text").value = words;
        $(i, "form").requestSubmit();
      };
      await until("open", () => [0, 1].every(i => !($(i, "send")?.disabled ?? true)));
      type(0, "ann");
      await until("ann", () => text(0, "talk") === "You are ann. Here: ann");
      type(1, "ann");
      await until("taken", () => text(1, "talk") === "ann is taken");
      type(1, "<b>bob</b>");
      await until("bob", () =>
        /You are <b>bob<\/b>. Here: (ann, <b>bob<\/b>|<b>bob<\/b>, ann)$/.test(text(1, "talk")));
      await until("is here", () => text(0, "talk").endsWith("<b>bob</b> is here"));
      type(1, "hello");
      await until("hello", () => [0, 1].every(i => text(i, "talk").endsWith("<b>bob</b>: hello")));
      const seen = states(0, "state");
      await until("restart", () => seen.some(state => state.startsWith("waiting")));
      await until("back", () => text(0, "talk").match(/You are ann/g).length === 2);
      await until("both", () => text(1, "talk").match(/You are <b>bob/g).length === 2);
      frames[1].remove();
      await until("left", () => text(0, "talk").endsWith("<b>bob</b> has left"));
    ]=])
    server:expect("stdout", "(restart)")
    stop(server)
    noError(server)
    local second = serve("main.lua", "PORT = " .. port)
    expectWell(second, browser)
    stop(second)
    noError(second)
  end)
end)
