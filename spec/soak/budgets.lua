-- One client of a server of two workers that takes what all share: names of rooms, events of a
-- class with resumeTime, members of rooms. Others must not notice, and memory must stay.
--
--     sync-lua spec/soak/budgets.lua [SECONDS=20]
--
-- Prints a line for each claim, and ends with `N passed, N failed`.

package.path = "./?.lua;" .. package.path

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

local SERVER = [[
  local Game = sync.Remote:extend("Game")
  Game.framing, Game.transports, Game.resumeTime = "line", {"tcp"}, 30
  Game.maxQueue, Game.overflow = 256 * 1024, "drop"
  local shared, text = sync.shared("values"), ("x"):rep(40000)
  local made = 0
  function Game.remote:visit(name)
    for i = 1, 50 do
      self:join(name .. i)
      self:leave(name .. i)
    end
  end
  function Game.remote.look(_, name)
    for i = 1, 50 do Game:room(name .. i):total() end
  end
  function Game.remote.flood(_, name)
    for i = 1, 5 do Game:room(name .. i):fire("onFlood", text) end
  end
  function Game.remote:enter(name) self:join(name) return sync.worker end
  function Game.remote.poke(_, name) Game:room(name):fire("onPoke") end
  function Game.remote:set()
    made = made + 1
    local answer = self:later()
    shared:set("key " .. sync.worker .. made, made, nil, function(done, problem)
      answer(done or tostring(problem))
    end)
  end
  function Game.remote.pid() return io.open("/proc/self/stat"):read "*n" end
  sync.enable("127.0.0.1", 0, Game)
  sync.start()
]]

local passed, failed = 0, 0

local function claim(holds, text, figure, unit)
  print(("%s %s (%s %s)"):format(holds and "ok    " or "NOT OK", text, figure, unit))
  if holds then passed = passed + 1 else failed = failed + 1 end
end

local lastId = 0

-- Calls a function of the server, and waits for its result. Events are counted.
local function call(client, method, argument)
  lastId = lastId + 1
  assert(client.socket:send(('{"jsonrpc":"2.0","id":%d,"method":"%s","params":[%s]}\n'):format(
    lastId, method, argument and '"' .. argument .. '"' or "")))
  while true do
    local line = assert(client.socket:receive "*l")
    if line:find "onPoke" then client.pokes = client.pokes + 1 end
    local id, result = line:match '"id":(%d+).-"result":"?([^"}]*)'
    if not id then result, id = line:match '"result":"?([^",}]*)"?.-"id":(%d+)' end
    if tonumber(id) == lastId then return result end
  end
end

local function connect(port) return {socket = Program.connect(port), pokes = 0} end

-- A client on each worker.
local function connectToBoth(port)
  local found, count = {}, 0
  while count < 2 do
    local client = connect(port)
    local worker = call(client, "enter", "honest")
    if not found[worker] then count = count + 1 end
    found[worker] = found[worker] or client
  end
  return found["1"], found["2"]
end

local seconds = tonumber(arg[1]) or 20
local server, port = Program.serve(SERVER, "--workers=2")
local one, two = connectToBoth(port)
local rogue = Program.connect(port)
rogue:settimeout(0)

local function memory()
  local most = server:memory() * 1024
  for _, client in ipairs {one, two} do
    local file = io.open("/proc/" .. call(client, "pid") .. "/statm")
    local _, pages = file:read("*n", "*n")
    file:close()
    most = math.max(most, pages * 4096)
  end
  return most / 2 ^ 20
end

local before = memory()
local stop, number, longest, refused = socket.gettime() + seconds, 0, 0, 0
local unsent = ""
while socket.gettime() < stop do
  if unsent == "" then
    local calls = {}
    for _, method in ipairs {"visit", "look", "flood"} do
      number = number + 1
      calls[#calls + 1] = ('{"jsonrpc":"2.0","method":"%s","params":["%d "]}\n'):format(method,
        number)
    end
    unsent = table.concat(calls)
  end
  local sent, _, part = rogue:send(unsent)
  unsent = unsent:sub((sent or part) + 1)
  rogue:receive(65536)
  local begun = socket.gettime()
  if call(one, "set") ~= "true" then refused = refused + 1 end
  longest = math.max(longest, socket.gettime() - begun)
end
claim(number > 100, "one client calls what takes from all", number, "calls")
claim(refused == 0, "shared values can be made", refused, "refused")
claim(longest < 1, "others are answered", ("%.0f"):format(longest * 1000), "ms at the most")

two.pokes = 0
call(one, "poke", "honest")
Process.eventually("the other worker's member hears it", function()
  call(two, "pid")
  return two.pokes > 0
end)
claim(two.pokes == 1, "rooms reach across workers", two.pokes, "event")
local grown = memory() - before
claim(grown < 256, "memory stays", ("%.0f"):format(grown), "MiB more")
rogue:close()
Process.cleanUp()
print(("%d passed, %d failed"):format(passed, failed))
os.exit(failed == 0 and 0 or 1)
