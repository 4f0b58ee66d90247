-- The server of the clients' tests: what clients/js/test/run.mjs wants of a real one, and
-- what resume.mjs lets it do.
--
--     sync-lua spec/clients/remote.lua [port [setting=number ...]]
--
-- Settings are those of the class, as resumeTime=30, and `run`, a number that events carry.
-- It writes its port to standard output.

local sync = require "sync"

local CLIENTS_PER_ROOM = 10

local Game = sync.Remote:extend("Game")
Game.run = 1
Game.detectTimeout = 15 -- WebSockets alone come, slowly on a busy machine

for _, setting in ipairs {select(2, ...)} do
  local name, value = setting:match("^(%w+)=([%d.]+)$")
  assert(Game[name or setting] ~= nil, "unknown setting: " .. setting)
  Game[name] = tonumber(value)
end

-- luacheck: push ignore self
function Game.remote:echo(value) return value end

Game.remote.add = sync.method("a: number", "b: number", function(_, a, b) return a + b end)

-- No compression makes it much shorter.
function Game.remote:long(length)
  local bytes = {}
  for i = 1, length do bytes[i] = string.char(math.random(97, 122)) end
  return table.concat(bytes)
end

function Game.remote:fail(code, message, data) error(sync.fault(code, message, data)) end

function Game.remote:crash() error("this text stays in the log") end
-- luacheck: pop

function Game.remote:fire(name, ...)
  self:fire(name, ...)
  return true
end

-- Calls the caller, and answers with its answer.
function Game.remote:ask(name, ...)
  local answer = self:later()
  local arguments, count = {...}, select("#", ...) + 1
  arguments[count] = answer
  self:call(name, unpack(arguments, 1, count))
end

-- What resume.mjs watches.

local members = {}  -- by number; those that are away, too
local fired = {all = 0, room = 0, half = 0}
local carriedOut = {} -- how often, by key
local asked = {questions = 0, answered = 0, late = 0, wrong = 0, twice = 0}
local closes = {}   -- of members: {number, reason, seconds away}
local aways, resumes = 0, 0
local firing

function Game.remote:enter(number)
  self.number = number
  members[number] = self
  self:join(math.floor(number / CLIENTS_PER_ROOM))
end

-- Notes that this was carried out; answers at once, or after some milliseconds.
function Game.remote:mark(key, milliseconds)
  carriedOut[key] = (carriedOut[key] or 0) + 1
  if not milliseconds then return key end
  local answer = self:later()
  sync.after(milliseconds / 1000, function() answer(key) end)
end

local function isOdd(client)
  return client.number and client.number % 2 == 1
end

local function fireAtAll(padding)
  fired.all = fired.all + 1
  Game.clients:fire("all", Game.run, fired.all, padding)
end

local function fireAtSome()
  fired.room, fired.half = fired.room + 1, fired.half + 1
  for number = 0, 9 do Game:room(number):fire("room", Game.run, fired.room) end
  Game.clients:filter(isOdd):fire("half", Game.run, fired.half)
end

-- Asks every member, connected or away.
local function ask()
  asked.questions = asked.questions + 1
  local question = asked.questions
  for _, member in pairs(members) do
    local isAnswered = false
    member:call("question", question, function(answer)
      if isAnswered then asked.twice = asked.twice + 1 end
      isAnswered = true
      if answer == question * 2 then
        asked.answered = asked.answered + 1
      elseif answer == nil then
        asked.late = asked.late + 1
      else
        asked.wrong = asked.wrong + 1
      end
    end)
  end
end

-- Fires events so many times a second, and asks with each tenth.
function Game.remote:start(rate) -- luacheck: ignore self
  firing = sync.every(1 / rate, function()
    fireAtAll()
    fireAtSome()
    if fired.all % 10 == 0 then ask() end
  end)
end

function Game.remote:halt() -- luacheck: ignore self
  firing:stop()
end

-- Fires that many events at all at once, each with so many bytes more.
function Game.remote:burst(count, bytes) -- luacheck: ignore self
  for _ = 1, count do fireAtAll(("x"):rep(bytes or 0)) end
end

function Game.remote:report() -- luacheck: ignore self
  local rooms = {}
  for number = 0, 9 do rooms[number + 1] = Game:room(number):count() end
  return {fired = fired, asked = asked, closes = closes, aways = aways, resumes = resumes,
    away = Game.awayCount, present = Game.clients:count(), rooms = rooms}
end

function Game.remote:carriedOut() return carriedOut end -- luacheck: ignore self

function Game:onAway()
  aways = aways + 1
  self.leftAt = sync.now()
end

function Game:onResume()
  resumes = resumes + 1
end

function Game:onClose(reason)
  local number = self.number
  if not number then return end
  if members[number] == self then members[number] = nil end
  closes[#closes + 1] = {number, reason, self.leftAt and sync.now() - self.leftAt or 0}
end

io.stdout:setvbuf("line")
print("port", sync.enable("127.0.0.1", tonumber((...)) or 0, Game).port)
sync.start()
