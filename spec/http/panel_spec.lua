local Process = require "spec.support.process"
local cjson = require "cjson"
local program = require "spec.support.program"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local TOKEN = "a-long-secret"

-- What a server answers to GET.
local function get(port, path, headers)
  local peer = assert(socket.connect("127.0.0.1", port))
  peer:settimeout(Process.BOUND)
  peer:send(("GET %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n%s\r\n"):format(path,
    headers or ""))
  local answer = assert(peer:receive("*a"))
  peer:close()
  local status, head, body = answer:match("^HTTP/1.1 (%d+)[^\r]*\r\n(.-\r\n)\r\n(.*)$")
  return tonumber(status), body, head
end

describe("the panel", function()
  local port

  setup(function()
    local _
    _, port = program.serve([[
      local Echo = sync.Protocol:extend("Echo")
      Echo.framing = "line"
      function Echo:onData(data) self:send(data) end
      sync.every(0.01, function() end)
      sync.enable("127.0.0.1", 0, Echo, {panel = "]] .. TOKEN .. [["})
      sync.start()
    ]])
  end)

  teardown(Process.cleanUp)

  local query = "?token=" .. TOKEN

  it("wants its token", function()
    for _, path in ipairs {"/panel", "/panel.json", "/metrics"} do
      local status, _, head = get(port, path)
      assert.equal(401, status)
      assert.matches("WWW-Authenticate: Bearer", head, 1, true)
      assert.equal(401, (get(port, path .. "?token=a-long-secreT")))
      assert.equal(401, (get(port, path .. "?token=")))
      assert.equal(401, (get(port, path, "Authorization: Bearer other\r\n")))
      assert.equal(200, (get(port, path .. query)))
      assert.equal(200, (get(port, path, ("Authorization: Bearer %s\r\n"):format(TOKEN))))
    end
  end)

  it("lists rooms, looks into one, and closes one", function()
    local server, at = program.serve([[
      local Duel = sync.Room:extend("Duel")
      Duel.maxMembers, Duel.emptyTime = 2, false
      Duel.state = sync.state {phase = "string", players = sync.map {x = "float32",
        hand = sync.private(sync.listOf "uint8"), secret = sync.server "any"}}
      local room = Duel:create()
      room:setMetadata {mode = "free"}
      room.state.phase = "play"
      room.state.players[7] = {x = 1.5, hand = {3, 4}, secret = {deep = true}}
      function Duel:onEnd() print "ended" end
      local Game = sync.Remote:extend("Game")
      Game.rooms = {Duel}
      sync.enable("127.0.0.1", 0, Game, {panel = "]] .. TOKEN .. [["})
      io.stdout:setvbuf "no"
      sync.start()
    ]])
    local _, body = get(at, "/panel.json" .. query)
    local rooms = cjson.decode(body).rooms
    assert.equal(1, rooms.count)
    local listed = rooms.list[1]
    assert.same({"Duel", 0, 2, '{"mode":"free"}'},
      {listed.class, listed.members, listed.most, listed.metadata})
    local path = "/panel/room.json" .. query .. "&id=" .. listed.id
    local status
    status, body = get(at, path)
    assert.equal(200, status)
    local state = cjson.decode(body).state
    assert.same({{"phase", "play"}}, state.fields)
    local fields = {}
    for _, field in ipairs(state.maps[1].entities[1].fields) do fields[field[1]] = field[2] end
    assert.same({"players", 1, "7"},
      {state.maps[1].name, state.maps[1].count, state.maps[1].entities[1].key})
    assert.same({x = "1.5", hand = "1: 3, 2: 4", secret = '{"deep":true}'}, fields)
    assert.equal(401, (get(at, "/panel/room.json?id=" .. listed.id)))
    local function post(target)
      local peer = assert(socket.connect("127.0.0.1", at))
      peer:settimeout(Process.BOUND)
      peer:send(("POST %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\n" ..
        "Content-Length: 0\r\n\r\n"):format(target))
      local answer = assert(peer:receive("*a"))
      peer:close()
      return tonumber(answer:match("^HTTP/1.1 (%d+)"))
    end
    assert.equal(401, post("/panel/close?id=" .. listed.id))
    assert.not_equal(200, (get(at, "/panel/close" .. query .. "&id=" .. listed.id)))
    assert.equal(200, post("/panel/close" .. query .. "&id=" .. listed.id))
    server:expect("stdout", "ended")
    assert.equal(404, (get(at, path)))
    assert.equal(404, post("/panel/close" .. query .. "&id=" .. listed.id))
  end)

  it("tells of a cluster where there is one", function()
    local _, body = get(port, "/panel.json" .. query)
    assert.is_nil(cjson.decode(body).cluster)
    local _, other = program.serve([[
      sync.enable("127.0.0.1", 0, sync.Protocol:extend("Echo"), {panel = "]] .. TOKEN .. [["})
      sync.start()
    ]], "--workers=1")
    _, body = get(other, "/panel.json" .. query)
    assert.equal(0, cjson.decode(body).cluster.others)
    _, body = get(other, "/metrics" .. query)
    assert.matches("\nsync_nodes_alive 0\n", body, 1, true)
  end)

  it("has a field for the token", function()
    local status, body, head = get(port, "/panel")
    assert.equal(401, status)
    assert.matches("Content-Type: text/html", head, 1, true)
    assert.matches('<form action="/panel" method="get">', body, 1, true)
    assert.matches('<input id="token" name="token" type="password"', body, 1, true)
    local _, text = get(port, "/metrics")
    assert.equal("The panel wants its token: /metrics?token=…\n", text)
  end)

  it("is a page", function()
    local _, body, head = get(port, "/panel" .. query)
    assert.matches("Content-Type: text/html", head, 1, true)
    assert.matches("Cache-Control: no-store", head, 1, true)
    assert.matches("<title>SYNC panel</title>", body, 1, true)
  end)

  it("tells of clients, messages, bytes, ticks, timers and handlers", function()
    local client = assert(socket.connect("127.0.0.1", port))
    client:settimeout(Process.BOUND)
    local before = cjson.decode((select(2, get(port, "/panel.json" .. query))))
    for i = 1, 100 do
      client:send(("message %d\n"):format(i))
      assert.equal("message " .. i, client:receive("*l"))
    end
    local state
    Process.eventually("a timer that fires", function()
      state = cjson.decode((select(2, get(port, "/panel.json" .. query))))
      return state.timersLate
    end)
    assert.equal(1, state.classes.Echo.tcp)
    assert.equal(1, state.clients)
    assert.equal(100, state.messagesIn - before.messagesIn)
    assert.equal(100, state.messagesOut - before.messagesOut)
    assert.is_true(state.bytesIn > before.bytesIn)
    assert.equal(0, state.queued)
    assert.is_true(state.ticks >= before.ticks + 100)
    assert.is_true(state.busy > before.busy)
    assert.is_true(state.uptime > before.uptime)
    assert.is_true(#state.timersLate > 0 and #state.timersLate <= #state.bucketEnds)
    local found
    for _, handler in ipairs(state.handlers) do
      found = found or handler.name == "Echo:onData" and handler
    end
    assert.is_string(found.state)
    client:close()
  end)

  it("writes Prometheus' text format", function()
    local _, body, head = get(port, "/metrics" .. query)
    assert.matches("Content-Type: text/plain; version=0.0.4", head, 1, true)
    local types = {}
    for line in body:gmatch("[^\n]+") do
      local name, kind = line:match("^# TYPE (%S+) (%a+)$")
      if name then
        assert.is_nil(types[name])
        types[name] = kind
      elseif not line:find("^# HELP ") then
        local metric, value = line:match('^([%w_]+)%b{} (%S+)$')
        if not metric then metric, value = line:match("^([%w_]+) (%S+)$") end
        assert.is_number(tonumber(value), line)
        local base = metric:gsub("_bucket$", ""):gsub("_sum$", ""):gsub("_count$", "")
        assert.is_string(types[metric] or types[base], line)
      end
    end
    assert.equal("counter", types.sync_messages_received_total)
    assert.equal("histogram", types.sync_tick_seconds)
    assert.matches('sync_tick_seconds_bucket{le="%+Inf"} %d', body)
  end)

  it("has the longest tick and its handler", function()
    local _, slow = program.serve([[
      local Slow = sync.Protocol:extend("Slow")
      Slow.framing = "line"
      function Slow:onData(data)
        local last = sync.now() + tonumber(data)
        while sync.now() < last do end
        self:send(data)
      end
      sync.enable("127.0.0.1", 0, Slow, {panel = "]] .. TOKEN .. [["})
      sync.start()
    ]])
    local client = assert(socket.connect("127.0.0.1", slow))
    client:settimeout(Process.BOUND)
    client:send("0.6\n0\n") -- in one tick: the watchdog has seen which it was
    for _ = 1, 2 do assert(client:receive("*l")) end
    local state = cjson.decode((select(2, get(slow, "/panel.json" .. query))))
    assert.is_true(state.longestTick >= 0.6)
    assert.equal("onData of Slow", state.longestHandler)
    assert.matches('sync_longest_tick_seconds{handler="onData of Slow"} %d',
      (select(2, get(slow, "/metrics" .. query))))
    client:close()
  end)

  it("is off unless there is a token, which is 8 letters or more", function()
    assert.matches("panel must be false, or a token of 8 letters or more",
      support.raised(sync.enable, "127.0.0.1", 0, support.protocol(), {panel = "short"}))
    local _, plain = program.serve [[
      sync.enable("127.0.0.1", 0, sync.Protocol:extend("Plain"))
      sync.start()
    ]]
    assert.equal(404, (get(plain, "/panel" .. query)))
    assert.equal(404, (get(plain, "/metrics" .. query)))
  end)
end)
