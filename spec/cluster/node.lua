-- A node of the cluster's tests: what its clients may do, and what they may ask.
--
--     sync-lua spec/cluster/node.lua HOST ENGINE-URL
--
-- To standard output it writes the port.

local sync = require "sync"

local Node = sync.Remote:extend("Node")
local Other = sync.Protocol:extend("Other") -- plain text, one message a line
Other.framing = "line"

-- Its clients may come back to another node.
local Game = sync.Remote:extend("Game")
Game.resumeTime = 20
Game.resumeFields = {"nick"}

local host, url = ...
local cluster = sync.cluster
if url then cluster(url) end

function Node.remote:say(text)
  self.clients:fire("onSay", text)
end

function Node.remote:sayToOthers(text)
  self.clients:except(self):fire("onSay", text)
end

function Node.remote:enter(room, value)
  return self:join(room, value)
end

function Node.remote:leave(room)
  self:leave(room)
end

-- Fires so many events at a room, numbered from `first` on.
function Node.remote.count(_, room, first, count)
  for i = first, first + count - 1 do Node:room(room):fire("onCount", room, i) end
end

function Node.remote.members(_, room)
  local list = Node:room(room):members()
  table.sort(list, function(a, b) return a.id < b.id end)
  return list
end

function Node.remote:totals(room)
  return {clients = self.clients:total(), room = room and Node:room(room):total()}
end

function Node.remote:me()
  return self.id
end

function Node.remote.tell(_, id, text)
  local client = sync.client(id)
  if not client then return false end
  client:fire("onTold", text)
  return true
end

function Node.remote.dismiss(_, id, reason)
  local client = sync.client(id)
  if client then client:close(reason) end
  return client ~= nil
end

local shared = sync.shared "spec"

-- Counts up a shared number, so many times one after the other, and notes the last.
function Node.remote:add(key, times)
  sync.spawn(function()
    local last
    for _ = 1, times do last = assert(shared:increment(key)) end
    self:fire("onTold", "added " .. last)
  end)
end

-- Wins once, whoever else calls it anywhere.
function Node.remote:race(key)
  shared:compareAndSet(key, nil, self.id, function(won, holder)
    self:fire("onTold", won and "won" or "lost to " .. tostring(holder))
  end)
end

function Node.remote.state()
  local alive = {}
  for number, node in pairs(cluster.nodes) do
    if node.alive then alive[#alive + 1] = number end
  end
  return {node = cluster.node, worker = sync.worker, nodes = #alive, lost = cluster.lost,
    dropped = cluster.dropped(), isUp = cluster.engine and cluster.engine:isUp()}
end

function Game.remote:enter(room, nick)
  self.nick = nick
  self:join(room, {nick = nick})
end

local pid = io.open("/proc/self/stat"):read("*n")

function Game.remote:who()
  return {nick = self.nick, node = cluster.node, pid = pid}
end

-- Fires an event at a room every few milliseconds, numbered.
function Game.remote.stream(_, room, count, seconds)
  local i = 0
  local timer
  timer = sync.every(seconds, function()
    i = i + 1
    Game:room(room):fire("onCount", room, i)
    if i == count then timer:stop() end
  end)
end

-- Fires an event at a room, so that its members see whether they hear it from here.
function Game.remote.poke(_, room)
  Game:room(room):fire("onPoke")
end

function Game.remote:after(seconds, value)
  local answer = self:later()
  sync.after(seconds, function()
    answer(value)
    sync.after(0, function() -- the engine has what was written down before what it's asked then
      shared:get("none", function()
        print("answered " .. tostring(value))
        io.flush()
      end)
    end)
  end)
end

function Game.remote:askMe(question)
  self:call("ask", question, self:later())
end

-- Who is greeted counts as a byte stream, and is sent what others say.
function Other:onConnect()
  self:send("welcome")
end

function Other:onData(line)
  self.clients:send(line)
end

local listener = sync.enable(host or "127.0.0.1", 0, Node, {panel = "a-spec-token"})
local lines = sync.enable(host or "127.0.0.1", 0, Other)
local games = sync.enable(host or "127.0.0.1", 0, Game)
print(listener.port, lines.port, games.port)
io.flush()
sync.start()
