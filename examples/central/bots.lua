-- Company for Central: people who fly about, and now and then say something or draw.
--
--     sync-lua examples/central/bots.lua [COUNT] [URL] [ROOM]
--     sync-lua examples/central/bots.lua 500 tcp://localhost:8080 lobby

local sync = require "sync"

local count = tonumber(arg[1] or 20)
local url = arg[2] or "tcp://localhost:8080"
local room = arg[3] or "lobby"

if not count or count < 1 or count % 1 ~= 0 then
  io.stderr:write("usage: sync-lua bots.lua [COUNT] [URL] [ROOM]\n")
  os.exit(2)
end

local AIMS_A_SECOND = 10
local WIDTH, HEIGHT = 5760, 3840 -- of the world
local CONNECTS_A_SECOND = 100
local NAMES = {"Ada", "Bix", "Cleo", "Dot", "Echo", "Fizz", "Gus", "Hal", "Ivy", "Juno", "Kit",
  "Lux", "Moth", "Nim", "Oz", "Pip", "Quill", "Rue", "Sol", "Tux", "Uma", "Vex", "Wren", "Yuki"}
local LINES = {"hello", "who draws with me?", "catch me", "nice place", "one more spark", "brb"}

math.randomseed(os.time())

local joined, patches = 0, 0

-- A bot turns slowly about a point that wanders through the world.
local function think(bot)
  bot.angle = bot.angle + bot.turn
  if math.random() < 0.01 then bot.homeX, bot.homeY = math.random(WIDTH), math.random(HEIGHT) end
  bot.x = math.min(math.max(bot.homeX + 300 * math.cos(bot.angle), 0), WIDTH)
  bot.y = math.min(math.max(bot.homeY + 300 * math.sin(bot.angle), 0), HEIGHT)
  bot.room:input("aim", bot.x, bot.y)
  local chance = math.random()
  if chance < 0.0004 then
    bot.room:input("say", LINES[math.random(#LINES)])
  elseif chance < 0.004 then
    bot.room:input("dash")
  elseif chance < 0.0045 then
    local points = {}
    for i = 0, 24 do
      local angle = i / 24 * 2 * math.pi
      points[#points + 1] = math.min(math.max(bot.x + 60 * math.cos(angle), 0), WIDTH)
      points[#points + 1] = math.min(math.max(bot.y + 60 * math.sin(angle), 0), HEIGHT)
    end
    bot.stroke = bot.stroke + 1
    bot.room:input("draw", bot.stroke, 4, points)
  end
end

local function start(number)
  local bot = {angle = math.random() * 6.28, turn = (math.random() - 0.5) * 0.3, stroke = 0,
    homeX = WIDTH / 2, homeY = HEIGHT / 2}
  local client = sync.connect(url, {offline = "refuse"})
  client:onSession(function()
    local who = {room = room, name = NAMES[(number - 1) % #NAMES + 1] .. " " .. number}
    client:join("Central", who, function(joinedRoom, err)
      if err then return sync.log.warn(("bot %d can't join: %s"):format(number, tostring(err))) end
      bot.room = joinedRoom
      bot.room:onPatch(function() patches = patches + 1 end)
      if not bot.timer then
        joined = joined + 1
        bot.timer = sync.every(1 / AIMS_A_SECOND, function() think(bot) end)
      end
    end)
  end)
end

local started = 0
local connecting
connecting = sync.every(1 / CONNECTS_A_SECOND, function()
  started = started + 1
  start(started)
  if started == count then connecting:stop() end
end)

sync.every(5, function()
  sync.log.info(("%d of %d bots are there; %d patches a second"):format(joined, count,
    patches / 5))
  patches = 0
end)

sync.start()
