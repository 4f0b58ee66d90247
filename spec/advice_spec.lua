local advice = require "sync.advice"
local amf3 = require "sync.flash.amf3"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

-- The names that docs/api.md says a client takes for itself.
local function documentedNames()
  local text = assert(io.open "docs/api.md"):read "*a"
  local names = {}
  for name in text:match("%*%*Names%.%*%*(.-)All other names"):gmatch "`(%l+%u?%l*)`" do
    names[name] = true
  end
  return names
end

local function problem(fields, base)
  local class = support.protocol(fields, base)
  local ok, message = pcall(sync.enable, "127.0.0.1", 0, class)
  assert.is_false(ok)
  return (message:gsub("^.*sync.enable: ", ""):gsub(class.className, "Game"))
end

local function adviceFor(fields, base)
  local class = support.protocol(fields, base)
  local list = advice.of(class)
  for i, text in ipairs(list) do list[i] = text:gsub(class.className, "Game") end
  return list
end

describe("a class that is enabled", function()
  it("is told names that are nearly those of settings and handlers", function()
    local function fn() end
    for wrong, right in pairs {framming = "framing", idleTimout = "idleTimeout",
      maxMesage = "maxMessage",
      origin = "origins", transport = "transports", route = "routes"} do
      assert.same({("class Game has %s, which means nothing to SYNC; did you mean %s?")
        :format(wrong, right)}, adviceFor {[wrong] = {}})
    end
    for wrong, right in pairs {onMessage = "onData", onDatas = "onData", onConect = "onConnect",
      onConnected = "onConnect", onDisconnect = "onClose", onClosed = "onClose"} do
      assert.same({("class Game has %s, which means nothing to SYNC; did you mean %s?")
        :format(wrong, right)}, adviceFor {[wrong] = fn})
    end
    assert.same({"class Game has resumTime, which means nothing to SYNC; did you mean resumeTime?"},
      adviceFor({resumTime = 5}, sync.Remote))
  end)

  it("may have fields and handlers of its own", function()
    local function fn() end
    assert.same({}, adviceFor {rooms = {}, host = "a", players = {}, name = "x",
      onDraw = fn, onJoin = fn, onMove = fn, sends = fn, framings = fn, maximum = 5, client = {},
      framing = "line", onData = fn})
    assert.same({}, adviceFor({onMessage = fn, callTimeout = 5}, sync.Remote))
    assert.same({}, adviceFor({}, require "sync.protocols.chat"))
  end)

  it("is told which names of a client it assigns to, with the line, once", function()
    local class = support.protocol()
    local line = debug.getinfo(1, "l").currentline
    function class:onConnect()
      self.room = 100
      self.name, self.score = "ann", 1
      local other = {}
      other.id = self.name
      self.other = other
      sync.after(1, function() self.closing = true end)
    end
    local base = class
    class = support.protocol({}, base)
    local lines = support.logged(function()
      sync.enable("127.0.0.1", 0, base):close()
      sync.enable("127.0.0.1", 0, class):close()
    end)
    assert.equal(2, #lines, table.concat(lines, "\n"))
    assert.matches(("advice_spec.lua:%d: self.room = … hides what a client of %s has by that name")
      :format(line + 2, base.className), lines[1], 1, true)
    assert.matches(("advice_spec.lua:%d: self.closing = …"):format(line + 7), lines[2], 1, true)
  end)

  it("is told what those assign to which its functions hand a client to", function()
    local helpers = {}
    local function set(player) player.room = 1 end
    local function pass(player, other) set(player); other.slot = 1 end
    function helpers.tail(_) end
    function helpers.name(self) self.isIn = true; return helpers.tail(self) end
    function helpers:push(client) self.id = client.id end
    local line = debug.getinfo(set, "S").linedefined
    local list = adviceFor {onConnect = function(self) pass(self, {}); helpers.name(self) end,
      onClose = function(self) pass(self, helpers); set {}; helpers:push(self) end,
      onData = function(self) helpers.push({}, self); print(self) end}
    assert.equal(2, #list, table.concat(list, "\n"))
    assert.matches(("advice_spec.lua:%d: self.room = …"):format(line), list[1], 1, true)
    assert.matches(("advice_spec.lua:%d: self.isIn = …"):format(line + 3), list[2], 1, true)
  end)

  it("is told the names that remoting takes, where it is remoting", function()
    local function assign(self) self._session = 1 end
    assert.same({}, adviceFor {onConnect = assign})
    assert.matches("self._session = …", adviceFor({onConnect = assign}, sync.Remote)[1], 1, true)
    local class = support.protocol({}, sync.Remote)
    class.remote.enter = assign
    class.remote.leave = sync.method(function(self) self.fire = 1 end)
    assert.equal(2, #advice.of(class))
  end)

  it("takes few names of a client, and those with an underscore", function()
    local class = support.protocol({resumeTime = 30, encoding = "amf3", framing = "length32"},
      sync.Remote)
    class.remote.f = sync.method({rate = 5}, function(self)
      self:join("room", 1)
      self:call("ask", print)
      self:later()
    end)
    local client = support.connect(class, 1)
    local request = amf3.encode {jsonrpc = "2.0", id = 1, method = "f"}
    client:send(string.char(0, 0, 0, #request) .. request)
    testing.settle()
    local documented, own, count = documentedNames(), {}, 0
    for name in pairs(client.server) do
      own[name] = true
      if name:sub(1, 1) ~= "_" then
        count = count + 1
        assert.is_true(documented[name] == true, name .. " stands in no document")
      end
    end
    assert.is_true(own._session and own._calls and own._allowances and own._owed and own._wire)
    assert.is_true(count >= 6)
  end)

  -- What one module keeps in a client by another name than those that read it is nil to them.
  it("is of modules that write these names alike", function()
    local files = io.popen("cd lua/sync && find $PWD/loop.lua $PWD/http $PWD/remoting " ..
      "$PWD/rooms $PWD/cluster $PWD/state -name '*.lua'")
    local count = 0
    for path in files:lines() do
      count = count + 1
      local text = assert(io.open(path)):read "*a"
      for _, name in ipairs {"session", "wire", "mirrors", "owed", "allowances", "membership"} do
        assert.is_nil(text:find("[^%w_]client%." .. name .. "[^%w_(]"), path .. ": client." .. name)
      end
    end
    files:close()
    assert.is_true(count > 50)
  end)

  it("has routes that can be asked for", function()
    for _, route in ipairs {"GET scores", "/scores", "get /scores", "GET", "GET /*/b"} do
      local class = support.protocol()
      class.routes[route] = function() end
      local ok, message = pcall(sync.enable, "127.0.0.1", 0, class)
      assert.is_false(ok)
      assert.matches('routes["' .. route .. '"]: a route is a method in capitals', message, 1, true)
    end
    local class = support.protocol()
    class.routes["GET /"] = "page"
    assert.matches("must be a function, not string", select(2, pcall(sync.enable, "127.0.0.1", 0,
      class)), 1, true)
  end)

  it("has no onData, where calls come", function()
    assert.equal("Game.onData would take all messages, which are calls here: write function " ..
      "Game.remote:NAME(…) for each, or extend sync.Protocol",
      problem({onData = function() end}, sync.Remote))
  end)
end)
