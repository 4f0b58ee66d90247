-- Two nodes whose Redis is killed and started again, or whose connections it ends, all the time:
-- what one of them sends, the other has got or has counted as lost.
--
--     sync-lua spec/cluster/flap.lua [RUNS=20] [SECONDS=12]
--
-- Prints a line for each run, and ends with `N passed, N failed`.

package.path = "./?.lua;" .. package.path

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local Redis = require "spec.support.redis"
local socket = require "socket"

local NODE = [[
  local cluster = sync.cluster((...))
  local Flap = sync.Protocol:extend("Flap")
  Flap.framing, Flap.transports, Flap.maxQueue = "line", {"tcp"}, 64 * 1024 * 1024
  local sent = 0
  local verbs = {}
  function verbs.join(client, room) client:join(room) end
  function verbs.send(_, room, count)
    for _ = 1, tonumber(count) do
      sent = sent + 1
      Flap:room(room):send("m " .. sent)
    end
  end
  function verbs.state(client)
    client:send(("s %d %d %d"):format(cluster.engine:isUp() and 1 or 0, cluster.lost, sent))
  end
  function Flap:onData(line)
    local verb, room, count = line:match "^(%a+) ?(%S*) ?(%S*)$"
    verbs[verb](self, room, count)
  end
  sync.enable("127.0.0.1", 0, Flap)
  sync.start()
]]

local Node = {}
Node.__index = Node

function Node.start(url)
  local code = Process.file('local sync = require "sync" ' .. NODE)
  local process = Program.start(code, url)
  local port = process:expect("stderr", "listens on %S-:(%d+)")
  local client = Program.connect(tonumber(port))
  return setmetatable({process = process, client = client, got = 0, last = 0, rest = ""}, Node)
end

function Node:tell(text) assert(self.client:send(text .. "\n")) end

-- Takes what has come: messages, which must be in order and come once, and a state.
function Node:take()
  self.client:settimeout(0)
  local bytes, problem, part = self.client:receive(65536)
  assert(problem ~= "closed", "a node has closed its client")
  local text = self.rest .. (bytes or part)
  local stop = #text - (text:reverse():find("\n", 1, true) or #text + 1) + 1
  self.rest = text:sub(stop + 1)
  for line in text:sub(1, stop):gmatch "[^\n]+" do
    local number = tonumber(line:match "^m (%d+)$")
    if number then
      assert(number > self.last, "twice, or out of order: " .. number)
      self.got, self.last = self.got + 1, number
    else
      local isUp, lost, sent = line:match "^s (%d) (%d+) (%d+)$"
      self.state = {isUp = isUp == "1", lost = tonumber(lost), sent = tonumber(sent)}
    end
  end
end

-- The node's state, as of now.
function Node:ask()
  self.state = nil
  self:tell "state"
  Process.eventually("a node answers", function()
    self:take()
    return self.state
  end)
  return self.state
end

-- Ways of Redis to be gone.
local WAYS = {
  killed = function(redis)
    redis:kill "KILL"
    socket.sleep(math.random() * 0.3)
    redis:restart()
  end,
  unplugged = function(redis)
    redis:command("CLIENT", "KILL", "TYPE", math.random(2) == 1 and "normal" or "pubsub")
  end,
}

-- Sends small bursts, and lets Redis go each second.
local function flap(redis, from, to, seconds, way)
  local stop, due = socket.gettime() + seconds, socket.gettime() + math.random()
  while socket.gettime() < stop do
    from:tell("send red " .. math.random(30))
    from:take()
    to:take()
    socket.sleep(0.01)
    if socket.gettime() > due then
      WAYS[way](redis)
      due = socket.gettime() + 1
    end
  end
end

--- Runs it once.
-- @treturn number how many messages were sent
-- @treturn number how many have come
-- @treturn number how many are counted as lost
local function run(seconds, way)
  local redis = Redis.start()
  local url = redis:url()
  local from, to = Node.start(url), Node.start(url)
  to:tell "join red"
  Process.eventually("the room is heard", function()
    from:tell "send red 1"
    socket.sleep(0.05)
    to:take()
    return to.got > 0
  end)
  local first = to.last - to.got -- what was sent before the room was heard
  flap(redis, from, to, seconds, way)
  local function areUp() return from:ask().isUp and to:ask().isUp end
  Process.eventually("both are connected", areUp)
  local sent, lost = from:ask().sent - first, 0
  pcall(Process.eventually, "all are counted", function()
    lost = to:ask().lost
    return to.got + lost == sent
  end)
  local got = to.got
  Process.cleanUp()
  return sent, got, lost
end

if not (arg and arg[0] and arg[0]:find "flap%.lua$") then return run end

local runs, seconds = tonumber(arg[1]) or 20, tonumber(arg[2]) or 12
local failed = 0
math.randomseed(os.time())
for i = 1, runs do
  local way = i % 2 == 1 and "killed" or "unplugged"
  local sent, got, lost = run(seconds, way)
  local isRight = sent == got + lost
  failed = failed + (isRight and 0 or 1)
  print(("%s run %d, %s: %d sent, %d received, %d counted as lost%s"):format(
    isRight and "ok    " or "NOT OK", i, way, sent, got, lost,
    isRight and "" or (", %d not"):format(sent - got - lost)))
end
print(("%d passed, %d failed"):format(runs - failed, failed))
os.exit(failed == 0 and 0 or 1)
