-- Central for a terminal: `nc localhost 8081`, a line at a time. It's a client of its own server,
-- as a page is one, so it finds its room wherever that is.

local sync = require "sync"
local task = require "sync.task"
local Central = require "central"

local Terminal = sync.Protocol:extend("Terminal")
Terminal.framing = "line"
Terminal.transports = {"tcp"} -- it speaks first
Terminal.maxMessage = 1024
Terminal.idleTimeout = 30 * 60
Terminal.url = "tcp://localhost:8080" -- Central's

local HELP = [[
Write a line to say it. Commands:
  /look         who is here, and what there is
  /name NAME    be called so
  /join ROOM    go to another room
  /go X Y       steer your comet there
  /dash         be fast for a moment
  /best         the best players
  /quit]]

local YELLOW, MOST_SHOWN = 45, 20

-- What a terminal shows of what happens in its room. Returns when the room's state is there.
local function follow(self, room)
  local isThere = false
  room.state.people:onAdd(function(person)
    if isThere then self:send(("* %s has come"):format(person.name)) end
  end)
  room.state.chat:onAdd(function(line)
    if not isThere or line.member == room.member then return end
    self:send(("<%s> %s"):format(line.name, line.text))
  end)
  room:on("onBump", function(by, whom, lost)
    if whom == room.member then
      self:send(("* somebody bumps you: %d sparks lost"):format(lost))
    elseif by == room.member then
      self:send(("* you get them: %d sparks fly"):format(lost))
    end
  end)
  task.await(function(resume)
    local function go()
      if not isThere then resume() end
      isThere = true
    end
    room:onPatch(go)
    room:onLeft(function(reason)
      if self.world == room then self.world = nil end
      self:send("* you are in this room no more: " .. reason)
      go()
    end)
  end)
end

function Terminal:enter(name, who)
  if self.world and name == self.place then return self:look() end
  local room, err = self.client:join("Central", {room = name, name = who, hue = YELLOW})
  if err then return self:send(("You can't go there: %s."):format(err.message)) end
  if self.world then self.world:leave() end
  self.world, self.place = room, name
  follow(self, room)
  if self.world then self:look() end
end

function Terminal:look()
  local state, you = self.world.state, self.world.member
  local names = {}
  for id, person in state.people:each() do
    if #names == MOST_SHOWN then
      names[#names + 1] = ("and %d more"):format(state.people:count() - MOST_SHOWN)
      break
    end
    names[#names + 1] = id == you and "you" or person.name
  end
  local comet = state.comets[you]
  self:send(("You are %s in the room %q, at %d %d, with %d sparks."):format(state.people[you].name,
    self.place, comet.x, comet.y, comet.score))
  self:send(("Here: %s. On the board: %d strokes."):format(table.concat(names, ", "),
    state.strokes:count()))
end

function Terminal:best()
  local list = {}
  for _, person in self.world.state.people:each() do list[#list + 1] = person end
  table.sort(list, function(a, b) return a.score > b.score end)
  for i = 1, math.min(8, #list) do
    self:send(("%d. %s: %d"):format(i, list[i].name, list[i].score))
  end
end

-- Calls a function of the room, and sends what fits its result, or why it failed.
function Terminal:ask(said, ...)
  local result, err = self.world:call(...)
  if err then return self:send(("That did not work: %s."):format(err.message)) end
  local text = result == false and said[2] or said[1]
  if text then self:send(text) end
end

local COMMANDS = {
  look = Terminal.look,
  best = Terminal.best,
  name = function(self, name)
    self:ask({("You are %s now."):format(Central.clean(name, 20))}, "rename", name)
  end,
  go = function(self, where)
    local x, y = where:match("^(%d+)%s+(%d+)$")
    if not x then return self:send("Say /go X Y, as in /go 2880 1920.") end
    self:ask({"On the way."}, "aim", tonumber(x), tonumber(y))
  end,
  dash = function(self) self:ask({"Whoosh.", "Not yet."}, "dash") end,
}

local ANYWHERE = {
  help = function(self) self:send(HELP) end,
  join = function(self, name)
    local people = self.world and self.world.state.people
    self:enter(Central.clean(name, 20), people and people[self.world.member].name or self.guest)
  end,
  quit = function(self)
    self:send("Good-bye.")
    self:close()
  end,
}

function Terminal:obey(line)
  local command, rest = line:match("^/(%a+)%s*(.-)%s*$")
  if ANYWHERE[command] then return ANYWHERE[command](self, rest) end
  if not self.world then return self:send("You are in no room: /join ROOM.") end
  if COMMANDS[command] then return COMMANDS[command](self, rest) end
  if command then
    return self:send("There is no /" .. command .. "; /help tells what there is.")
  end
  local text = sync.isText(line) and Central.clean(line, 300) or ""
  if text ~= "" then self:ask({}, "say", text) end
end

-- A line at a time: the next one is taken when this one is done.

Terminal.onConnect = sync.waits(function(self)
  self.client, self.guest = sync.connect(self.url), "terminal " .. self.id
  self:send("Welcome to Central. /help tells what you can do.")
  self:enter("lobby", self.guest)
end)

Terminal.onData = sync.waits(Terminal.obey)

function Terminal:onClose()
  self.client:close()
end

return Terminal
