-- A worker that drains: its clients go to the other one, with their sessions and their rooms.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local SERVER = [[
  local Duel = sync.Room:extend "Duel"
  Duel.clientsCreate = true
  function Duel:onShutdown(seconds)
    self:fire("onLast", seconds)
    require "sync.task".await(function(go) self.over = go end)
  end
  function Duel.remote.finish(room) room.over() end
  local Chat = sync.Room:extend "Chat"
  local Game = sync.Remote:extend "Game"
  Game.rooms, Game.resumeTime, Game.resumeFields = {Duel, Chat}, 20, {"nick"}
  Game.createRate = 1000
  function Game.remote:name(nick) self.nick = nick end
  function Game.remote:where() return sync.worker end
  function Game.remote:nick() return self.nick end
  function Game.remote:tick() self:fire("tick") end
  function Game.remote:drain() sync.drain {seconds = 30, batch = 1000} end
  sync.enable("127.0.0.1", 0, Game)
  sync.start()
]]

-- Ten clients, of which those of worker 1 must go. Prints what has become of them.
local CLIENTS = [[
  local sync = require "sync"
  local url, N = "tcp://127.0.0.1:" .. arg[1], 10
  local function wait(what, test)
    for _ = 1, 1000 do
      if test() then return end
      sync.sleep(0.01)
    end
    print("waited in vain for " .. what)
    os.exit(1, false)
  end
  sync.spawn(function()
    local clients, ones = {}, {}
    repeat
      local client = sync.connect(url, {heartbeat = false})
      client.ticks, client.states = 0, {}
      client:on("tick", function() client.ticks = client.ticks + 1 end)
      client:on("onLast", function(seconds) client.told = seconds end)
      client:onState(function(state) table.insert(client.states, state) end)
      client.nick = "number " .. #clients
      client:call("name", client.nick)
      local where = client:call "where"
      table.insert(clients, client)
      if where == 1 then table.insert(ones, client) end
    until #clients >= N and #ones >= 3 and #clients - #ones >= 1
    local other
    for _, client in ipairs(clients) do
      if client:call "where" == 2 then other = client end
    end
    local player, chatter = ones[1], ones[2]
    local duel, chat = player:create "Duel", chatter:create "Chat"
    local guest = other:joinById(chat.id)
    ones[3]:notify "drain"
    for i, client in ipairs(ones) do
      local function hasMoved() return client.resumed and client.state == "open" end
      if i > 1 then wait("a move", hasMoved) end
      client:call "tick"
    end
    wait("the last word", function() return player.told end)
    print("the player has stayed", player:call "where", player.told)
    print("a chatter's room", chat.isIn, guest.isIn)
    local refused, problem = other:joinById(duel.id)
    print("nobody joins", refused, problem.message)
    local made = player:create "Duel"
    print("a new room", made.id:match "^%x+" ~= duel.id:match "^%x+")
    duel:call "finish"
    wait("the end", function() return not duel.isIn end)
    wait("the last move", function() return player.resumed and player.state == "open" end)
    for _, client in ipairs(clients) do
      if client:call "where" ~= 2 then print("still at 1", client.nick) end
      if client:call "nick" ~= client.nick then print("not who it was", client.nick) end
      client:call "tick"
      if client.sessions > 1 then print("begins anew", client.nick) end
    end
    for _, client in ipairs(ones) do
      print("ticks", client.ticks, table.concat(client.states, " "))
    end
    wait("the chat's end", function() return not guest.isIn end)
    print "done"
    for _, client in ipairs(clients) do client:close() end
  end)
  sync.start()
]]

describe("a worker that drains", function()
  after_each(Process.cleanUp)

  it("leaves its clients, their sessions and new rooms to the other", function()
    local server, port = Program.serve(SERVER, "--workers=2")
    server:expect("stderr", "node %d is there.-node %d is there")
    local code, said, problems = Program.run(Process.file(CLIENTS), tostring(port))
    assert.equal("", problems)
    assert.equal(0, code, said)
    assert.matches("the player has stayed\t1\t24\na chatter's room\ttrue\ttrue\n" ..
      "nobody joins\tnil\tthe room is locked\na new room\ttrue\n", said, 1, true)
    assert.matches("\ndone\n$", said)
    for ticks, states in said:gmatch "ticks\t(%d+)\t([^\n]*)" do
      assert.same({"2", "open connecting open"}, {ticks, states})
    end
    assert.not_matches("still at 1", said, 1, true)
    assert.not_matches("not who it was", said, 1, true)
    assert.not_matches("begins anew", said, 1, true)
  end)
end)
