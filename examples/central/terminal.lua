-- Central for a terminal: `nc localhost 8081`, a line at a time.

local sync = require "sync"
local Central = require "central"

local Terminal = sync.Protocol:extend("Terminal")
Terminal.framing = "line"
Terminal.transports = {"tcp"} -- it speaks first
Terminal.maxMessage = 1024
Terminal.idleTimeout = 30 * 60

local HELP = [[
Write a line to say it. Commands:
  /look         who is here, and what there is
  /name NAME    be called so
  /join ROOM    go to another room
  /go X Y       steer your comet there
  /dash         be fast for a moment
  /best         the best players
  /quit]]

-- What a terminal shows of what happens in its room.
local SHOWN = {
  onSay = function(self, id, name, _, text)
    if id ~= self.member.id then self:send(("<%s> %s"):format(name, text)) end
  end,
  onJoin = function(self, _, name) self:send(("* %s has come"):format(name)) end,
  onBump = function(self, by, whom, lost)
    if whom == self.member.id then
      self:send(("* somebody bumps you: %d sparks lost"):format(lost))
    elseif by == self.member.id then
      self:send(("* you get them: %d sparks fly"):format(lost))
    end
  end,
}

function Terminal:enter(roomName, name)
  local room = Central.findRoom(roomName)
  if not room then return self:send("There are too many rooms.") end
  local before, member = self.place, self.member
  local new = room:add(name, 45, function(event, ...)
    local show = SHOWN[event]
    if show and self.member then show(self, ...) end
  end)
  if not new then return self:send("That room is full.") end
  if member then Central.leaveRoom(before, member) end
  self.place, self.member = room, new
  self:look()
end

function Terminal:look()
  local room, member = self.place, self.member
  local names = {}
  for i, other in ipairs(room.members) do
    if i > 20 then
      names[#names + 1] = ("and %d more"):format(room.count - 20)
      break
    end
    names[i] = other == member and "you" or other.name
  end
  self:send(("You are %s in the room %q, at %d %d, with %d sparks."):format(member.name, room.name,
    member.x, member.y, member.score))
  self:send(("Here: %s. On the board: %d strokes."):format(table.concat(names, ", "),
    room.lastStroke - room.firstStroke + 1))
end

local COMMANDS = {
  look = Terminal.look,
  help = function(self) self:send(HELP) end,
  name = function(self, name)
    name = Central.clean(name, 20)
    if name == "" then return self:send("A name has one letter or more.") end
    self.place:rename(self.member, name)
    self:send("You are " .. name .. " now.")
  end,
  join = function(self, room) self:enter(room, self.member.name) end,
  go = function(self, where)
    local x, y = where:match("^(%d+)%s+(%d+)$")
    if not x then return self:send("Say /go X Y, as in /go 2880 1920.") end
    self.place:aim(self.member, tonumber(x), tonumber(y))
    self:send("On the way.")
  end,
  dash = function(self)
    self:send(self.place:startDash(self.member) and "Whoosh." or "Not yet.")
  end,
  best = function(self)
    for i, each in ipairs(self.place:best(8)) do
      self:send(("%d. %s: %d"):format(i, each[1], each[2]))
    end
  end,
  quit = function(self)
    self:send("Good-bye.")
    self:close()
  end,
}

function Terminal:onConnect()
  self:send("Welcome to Central. /help tells what you can do.")
  self:enter("lobby", "terminal " .. self.id)
end

function Terminal:onData(line)
  local command, rest = line:match("^/(%a+)%s*(.-)%s*$")
  if not command then
    local text = sync.isText(line) and Central.clean(line, 300) or ""
    if text ~= "" then self.place:say(self.member, text) end
  elseif COMMANDS[command] then
    COMMANDS[command](self, rest)
  else
    self:send("There is no /" .. command .. "; /help tells what there is.")
  end
end

function Terminal:onClose()
  if self.member then Central.leaveRoom(self.place, self.member) end
  self.member = nil
end

return Terminal
