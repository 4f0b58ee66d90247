-- A script that changes under its clients.

local Folder = require "spec.support.folder"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local http = require "socket.http"

-- A class that answers each line with a word, the client's count, and the class's.
local function echo(word, more)
  return ([[
    local Echo = sync.Protocol:extend("Echo")
    Echo.framing, Echo.total = "line", 0
    function Echo:onConnect() self.count = 0 end
    function Echo:onData(line)
      self.count, Echo.total = self.count + 1, Echo.total + 1
      self:send(("%s %%s %%d %%d"):format(line, self.count, Echo.total))
    end
    %s
    sync.enable("127.0.0.1", 0, Echo)
    sync.start()
  ]]):format(word, more or "")
end

local function ask(client, line)
  client:send((line or "hi") .. "\n")
  return client:receive "*l"
end

describe("reload", function()
  after_each(Folder.cleanUp)

  it("changes the class of clients, whose fields stay", function()
    local folder = Folder.new(echo "one")
    local _, port = folder:serve()
    local client = Program.connect(port)
    assert.equal("one hi 1 1", ask(client))
    assert.is_nil(folder:reload(echo "two"))
    assert.equal("two hi 2 1", ask(client))
    local other = Program.connect(port)
    assert.equal("two hi 1 2", ask(other))
    assert.is_nil(folder:reload(echo("three",
      "function Echo:onReload(previous) self.total = previous.total end")))
    assert.equal("three hi 3 3", ask(client))
    assert.equal("three hi 2 4", ask(other))
  end)

  it("runs modules of the folder anew, and no others", function()
    local script = echo("one", [[
      local near, far = require "near", require "far"
      function Echo:onData() self:send(near.word .. far.word .. tostring(require "late")) end
    ]])
    local folder = Folder.new(script, {near = "return {word = 'near1 '}"})
    local elsewhere = Folder.new("", {far = "return {word = 'far1 '}"})
    folder:write("late.lua", "return 'late1'")
    script = ("package.path = package.path .. %q\n"):format(";" .. elsewhere.path .. "/?.lua") ..
      script
    folder:script(script)
    local _, port = folder:serve()
    local client = Program.connect(port)
    assert.equal("near1 far1 late1", ask(client))
    folder:write("near.lua", "return {word = 'near2 '}")
    folder:write("late.lua", "return 'late2'")
    elsewhere:write("far.lua", "return {word = 'far2 '}")
    assert.is_nil(folder:reload())
    assert.equal("near2 far1 late2", ask(client))
  end)

  it("says which version runs, and goes back to the one before", function()
    local function script(word)
      return echo(word, 'function Echo:onData() self:send(table.concat({"' .. word ..
        '", require "module", sync.codeVersion()}, " ")) end ' ..
        'require "module"')
    end
    local folder = Folder.new(script "one", {module = "return 'm1'"})
    local process, port = folder:serve()
    local client = Program.connect(port)
    local first = ask(client):match "^one m1 1 (%x+)$"
    assert.truthy(folder:back():find "there is no version before this one")
    folder:write("module.lua", "return 'm2'")
    assert.is_nil(folder:reload(script "two"))
    local second = ask(client):match "^two m2 2 (%x+)$"
    assert.truthy(first and second and first ~= second)
    process:expect("stderr", ("reloaded: version 2 %%(%s%%), in place of version 1 %%(%s%%)")
      :format(second, first))
    os.remove(folder.path .. "/main.lua")
    os.remove(folder.path .. "/module.lua")
    assert.is_nil(folder:back())
    assert.equal("one m1 3 " .. first, ask(client))
    assert.is_nil(folder:back())
    assert.equal("two m2 4 " .. second, ask(client))
  end)

  -- What a version does at its end: a failure at each place in turn.
  it("puts all back when it fails, wherever that is", function()
    local function script(word, more, last)
      return echo(word, ([[
        local module = require "module"
        Echo.maxMessage = %d
        Echo.routes["GET /word"] = function() return "%s" .. module end
        sync.every(0.01, function() io.write("tick %s\n") end)
        sync.signal("HUP", function() print("signal %s") end)
        %s
      ]]):format(word == "one" and 100 or 5, word, word, word, more or "")):gsub("sync.start%(%)",
        (last or "") .. " %0")
    end
    local free = Process.freePort()
    local enable = ('sync.enable("127.0.0.1", %d, Echo)'):format(free)
    local folder = Folder.new(script "one", {module = "return 1"})
    local process, port = folder:serve()
    local client = Program.connect(port)
    folder:write("module.lua", "return 2")
    local ways = {
      {"module.lua:1", "unexpected symbol", module = "return ]"},
      {"boom", "main.lua", script("two", nil, enable .. " error 'boom'")},
      {"two classes have the name \"Twin\"", "main.lua", script("two",
        'sync.Class:extend("Twin") sync.Class:extend("Twin")')},
      {"the class \"Echo\" extends another class", "upgrade instead",
        (script("two"):gsub("sync.Protocol:", "sync.Remote:")
          :gsub("Echo:onData", "Echo.remote:ask"))},
      {"bang", "main.lua", script("two", 'function Echo:onReload() error "bang" end', enable)},
      {"crash", "main.lua", script("two", 'function Echo:onStart() error "crash" end', enable)},
      {"without sync.start", "lines", (script("two"):gsub("sync.start%(%)", ""))},
      {"certificate", "tls", script("two",
        'Echo.tls = {certificate = "/none", key = "/none"}', enable)},
      {"maxMessage must be", "enable", script("two", "Echo.maxMessage = -1")},
    }
    for number, way in ipairs(ways) do
      folder:write("module.lua", way.module or "return 2")
      local problem = folder:reload(way[3])
      assert.truthy(problem, number .. " " .. way[1])
      assert.truthy(problem:find(way[1], 1, true), problem)
      assert.truthy(problem:find(way[2], 1, true), problem)
      assert.equal(("one longer 1 %d"):format(number), ask(Program.connect(port), "longer"))
      assert.equal("one1", http.request(("http://127.0.0.1:%d/word"):format(port)))
      assert.is_nil(require "socket".connect("127.0.0.1", free))
    end
    assert.equal("one hi 1 10", ask(client))
    process:kill "HUP"
    process:expect("stdout", "signal one\n")
    local _, ticks = process:stdout():gsub("tick one", "")
    Process.eventually("ticks go on", function()
      return select(2, process:stdout():gsub("tick one", "")) > ticks
    end)
    assert.is_nil(process:stdout():find("two", 1, true))
    folder:write("module.lua", "return 2")
    assert.is_nil(folder:reload(script("two", nil, enable))) -- nothing of them stands in its way
    assert.equal("two2", http.request(("http://127.0.0.1:%d/word"):format(free)))
  end)

  it("opens and closes listeners, and leaves those open that are the same", function()
    local a = Process.freePort()
    local b
    repeat b = Process.freePort() until b ~= a
    local function script(word, first, second)
      return ([[
        local Echo = sync.Protocol:extend("Echo")
        Echo.framing = "line"
        function Echo:onData(line) self:send("%s " .. line) end
        sync.enable("127.0.0.1", %d, Echo, {maxMessage = %d})
        %s
        sync.start()
      ]]):format(word, a, first, second or "")
    end
    local folder = Folder.new(script("one", 3, ('sync.enable("127.0.0.1", %d, Echo)'):format(b)))
    folder:serve()
    local one, other = Program.connect(a), Program.connect(b)
    assert.equal("one hi", ask(other))
    assert.is_nil(folder:reload(script("two", 9)))
    assert.equal("two hi", ask(one))
    assert.equal("two hi", ask(other)) -- its listener is closed
    assert.is_nil(require "socket".connect("127.0.0.1", b))
    assert.equal("two longer", ask(Program.connect(a), "longer")) -- its settings are the new ones
    local chess = [[
      local Chess = sync.Protocol:extend("Chess")
      Chess.framing = "line"
      function Chess:onStart() self.word = "chess" end
      function Chess:onData(line) self:send(self.word .. " " .. line) end
      sync.enable("127.0.0.1", %d, Chess)
      sync.start()
    ]]
    assert.is_nil(folder:reload(chess:format(a)))
    assert.equal("chess hi", ask(Program.connect(a)))
    assert.equal("two hi", ask(one)) -- of a class that is no more
    local bytes = 'local Raw = sync.Protocol:extend("Raw") function Raw:onBytes() end ' ..
      'sync.enable("127.0.0.1", %d, Raw) sync.start()'
    assert.truthy(folder:reload(bytes:format(a)):find("upgrade instead", 1, true))
    assert.equal("chess hi", ask(Program.connect(a)))
  end)

  it("ends timers, routes and signals of the old version, and none of clients", function()
    local script = [[
      local Echo = sync.Protocol:extend("Echo")
      Echo.framing = "line"
      local function say(kind) io.write(kind, " %s\n") end
      sync.every(0.01, function() say "every" end)
      local function again() say "again" sync.after(0.01, again) end
      sync.after(0, again)
      function Echo:onStart() sync.every(0.01, function() say "started" end) end
      function Echo:say() self:send "%s" end
      function Echo:onData() self.timer = sync.every(0.01, function() self:say() end) end
      Echo.routes["GET /%s"] = function() return "yes" end
      sync.signal("HUP", function() say "signal" end)
      sync.enable("127.0.0.1", 0, Echo)
      sync.start()
    ]]
    local folder = Folder.new((script:gsub("%%s", "one")))
    local process, port = folder:serve()
    local client = Program.connect(port)
    assert.equal("one", ask(client))
    local function expectAll(word)
      for _, kind in ipairs {"every", "again", "started"} do
        process:expect("stdout", kind .. " " .. word)
      end
    end
    expectAll "one"
    assert.is_nil(folder:reload((script:gsub("%%s", "two"):gsub("sync.signal%b()", ""))))
    local function old() return (process:stdout():gsub("%l+ two\n", "")) end
    local ended = old()
    expectAll "two"
    assert.equal(ended, old())
    repeat until client:receive "*l" == "two" -- its timer goes on, and calls the new class
    assert.equal(200, select(2, http.request(("http://127.0.0.1:%d/two"):format(port))))
    assert.equal(404, select(2, http.request(("http://127.0.0.1:%d/one"):format(port))))
    process:kill "HUP" -- which ends nobody
    assert.equal(200, select(2, http.request(("http://127.0.0.1:%d/two"):format(port))))
    assert.is_nil(process:stdout():find("signal", 1, true))
  end)

  it("lets functions that wait in old code come to their end", function()
    local folder = Folder.new(echo("one", [[
      Echo.onData = sync.waits(function(self, line)
        self:send("begin")
        repeat sync.sleep(0.005) until sync.codeVersion() > 1
        self:send("one " .. line .. " " .. self:word())
      end)
      function Echo:word() return "old" end
    ]]))
    local _, port = folder:serve()
    local client = Program.connect(port)
    client:send "first\nsecond\n"
    assert.equal("begin", client:receive "*l")
    assert.is_nil(folder:reload(echo("two", 'function Echo:word() return "new" end')))
    assert.equal("one first new", client:receive "*l")
    assert.equal("two second 1 1", client:receive "*l")
  end)

  it("skips declarations of the FFI that are the same, and refuses others", function()
    local function script(word, declaration, metatype)
      return echo(word, ([[
        local ffi = require "ffi"
        ffi.cdef "%s"
        function Echo:onData() self:send(("%s %%d"):format(ffi.sizeof "struct spec_reload")) end
        %s
      ]]):format(declaration, word, metatype or ""))
    end
    local same = "struct spec_reload { int32_t a; };"
    local folder = Folder.new(script("one", same))
    local _, port = folder:serve()
    local client = Program.connect(port)
    assert.equal("one 4", ask(client))
    assert.is_nil(folder:reload(script("two", same)))
    assert.equal("two 4", ask(client))
    local problem = folder:reload(script("three", "struct spec_reload { double a; };"))
    assert.truthy(problem:find("attempt to redefine 'spec_reload'", 1, true), problem)
    assert.truthy(problem:find("upgrade instead", 1, true), problem)
    local metatype = 'ffi.metatype("struct spec_reload", {})'
    assert.is_nil(folder:reload(script("four", same, metatype)))
    assert.truthy(folder:reload(script("five", same, metatype)):find("upgrade instead", 1, true))
    assert.equal("four 4", ask(client))
  end)

  it("changes the class of rooms that there are, and their pace not", function()
    local function script(word, rate)
      return ([[
        local Game, Duel = sync.Remote:extend("Game"), sync.Room:extend("Duel")
        Game.framing, Game.resumeTime = "line", 30
        Duel.tickRate = %d
        Duel.state = sync.state {%s = "uint8"}
        function Duel:onJoin(member) member.score = 1 self.made = self.made or "%s" end
        function Duel:onTick() self.ticked = "%s" end
        function Duel.remote:look(member)
          return {self.made, self.ticked or "none", "%s", member.score, self.tickRate, #Duel:all()}
        end
        function Duel:onReload(previous) self.was = previous.tickRate end
        Game.rooms = {Duel}
        function Game.remote:was() return Duel.was end
        sync.enable("127.0.0.1", 0, Game)
        sync.start()
      ]]):format(rate, word, word, word, word)
    end
    local folder = Folder.new(script("one", 50))
    local _, port = folder:serve()
    local client = Program.connect(port)
    local function call(method, params)
      client:send(cjson.encode {jsonrpc = "2.0", id = 1, method = method, params = params} .. "\n")
      while true do
        local answer = cjson.decode((assert(client:receive "*l")))
        if answer.id == 1 then return answer.result end
      end
    end
    local room = call("sync.join", {room = "Duel", form = "json"}).room
    local function look() return call("sync.call", {room = room, method = "look", params = {}}) end
    assert.equal("one", look()[3])
    assert.is_nil(folder:reload(script("two", 10)))
    Process.eventually("a tick of the new class", function()
            return table.concat(look(), " ") == "one two two 1 50 1"
    end)
    assert.equal(50, call("was", {}))
    client = Program.connect(port) -- a room of the new shape, and the new pace
    room = call("sync.create", {room = "Duel", form = "json"}).room
    assert.equal("two", look()[1])
    assert.equal(10, look()[5])
  end)

  it("loses, doubles and turns round no message meanwhile", function()
    local folder = Folder.new(echo "one")
    local process, port = folder:serve()
    local clients = {}
    for i = 1, 50 do clients[i] = Program.connect(port) end
    local number, versions = 0, 0
    while versions < 5 do
      process:kill "USR1" -- while messages are on their way
      for _ = 1, 10 do
        number = number + 1
        for _, client in ipairs(clients) do client:send(("%d\n%d\n"):format(number, number)) end
        for _, client in ipairs(clients) do
          assert.truthy((client:receive "*l"):find(("one %d %d "):format(number, number * 2 - 1)))
          assert.truthy((client:receive "*l"):find(("one %d %d "):format(number, number * 2)))
        end
      end
      versions = select(2, process:stderr():gsub("reloaded: version", ""))
    end
  end)

  it("leaves handlers as native code", function()
    local function script(word)
      return echo(word, [[
        function Echo:onData(line)
          if line == "?" then
            for _, entry in ipairs(sync.jit.report()) do
              if entry.name == "Echo:onData" then self:send(entry.where .. " " .. entry.state) end
            end
          else
            self:send(line)
          end
        end
      ]])
    end
    local folder = Folder.new(script "one")
    local _, port = folder:serve "--jit-report"
    local client = Program.connect(port)
    local function isNative()
      client:send(("x\n"):rep(2000))
      for _ = 1, 2000 do client:receive "*l" end
      local where, state = ask(client, "?"):match "^(%S+) (.*)$"
      assert.truthy(state:find "^native code", state)
      return where
    end
    local before = isNative()
    assert.is_nil(folder:reload("-- moved\n" .. script "two"))
    assert.are_not.equal(before, isNative())
  end)
end)
