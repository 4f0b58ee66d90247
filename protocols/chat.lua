--- Chat: nicknames, rooms, and a history for those who come later.
--
--     sync.enable("localhost", 8080, require "sync.protocols.chat")
--     $ nc localhost 8080
--
-- What isn't a command goes to everybody in the room. With `framing = "null"` the same
-- class serves Flash movies on another port, in the same rooms. All that clients can fill
-- is bounded: names and rooms by their lengths and by the number of clients, the history by
-- `historySize`; a room's history goes with its last member.
--
-- @classmod sync.protocols.chat

local Line = require "sync.protocols.line"

local Chat = Line:extend("Chat")

Chat.maxMessage = 2048
--- Messages that a room remembers.
Chat.historySize = 20
--- Longest nickname and room name, in bytes.
Chat.maxName = 24
--- The room that everybody begins in.
Chat.firstRoom = "lobby"

local HELP = {
  "/nick NAME    change your name",
  "/join ROOM    go to another room",
  "/who          list who is here",
  "/me TEXT      say what you do",
  "/quit         leave",
}

--- Makes a chat of its own: other names and rooms than this one's.
function Chat:extend(name)
  local class = Line.extend(self, name)
  class.byName = {}    -- clients by their names in lower case
  class.histories = {} -- lists of messages by room
  return class
end

Chat.byName, Chat.histories = {}, {}

-- What a terminal would take for a command of its own is left out.
local function plain(text)
  return (text:gsub("%c", ""))
end

local function isName(text, longest)
  return #text <= longest and text:find("^[^%s%c/]+$") ~= nil
end

function Chat:remember(room, text)
  local history = self.histories[room] or {}
  self.histories[room] = history
  history[#history + 1] = text
  if #history > self.historySize then table.remove(history, 1) end
end

function Chat:say(text)
  self:remember(self.roomName, text)
  self:room(self.roomName):send(text)
end

function Chat:enter(room)
  self.roomName = room
  self:join(room)
  for _, text in ipairs(self.histories[room] or {}) do self:send(text) end
  self:say(("* %s has come to %s"):format(self.nick, room))
end

function Chat:exit()
  local name = self.roomName
  self:leave(name)
  if self:room(name):count() == 0 then
    self.histories[name] = nil
  else
    self:say(("* %s has left"):format(self.nick))
  end
end

function Chat:rename(nick)
  if self.nick then self.byName[self.nick:lower()] = nil end
  self.nick = nick
  self.byName[nick:lower()] = self
end

--- Commands by name: functions of the client and the rest of the line.
Chat.commands = {}

function Chat.commands.nick(client, nick)
  if not isName(nick, client.maxName) then
    client:send(("A name has 1 to %d bytes, and no spaces or /."):format(client.maxName))
  elseif (client.byName[nick:lower()] or client) ~= client then
    client:send(nick .. " is taken.")
  else
    local before = client.nick
    client:rename(nick)
    client:say(("* %s is now %s"):format(before, nick))
  end
end

function Chat.commands.join(client, room)
  if not isName(room, client.maxName) then
    client:send(("A room's name has 1 to %d bytes, and no spaces or /."):format(client.maxName))
  elseif room ~= client.roomName then
    client:exit()
    client:enter(room)
  end
end

function Chat.commands.who(client)
  local names = {}
  for other in client:room(client.roomName) do names[#names + 1] = other.nick end
  client:send(("In %s: %s"):format(client.roomName, table.concat(names, ", ")))
end

function Chat.commands.me(client, text)
  client:say(("* %s %s"):format(client.nick, text))
end

function Chat.commands.help(client)
  for _, line in ipairs(HELP) do client:send(line) end
end

function Chat.commands.quit(client)
  client:send("Good-bye.")
  client:close()
end

function Chat:onConnect()
  local number = self.id
  while self.byName["guest" .. number] do number = number + 1 end
  self:rename("guest" .. number)
  self:send(("Welcome, %s. /help lists the commands."):format(self.nick))
  self:enter(self.firstRoom)
end

function Chat:onData(line)
  if line:sub(1, 1) ~= "/" then
    if line ~= "" then self:say(self.nick .. ": " .. plain(line)) end
    return
  end
  local name, rest = plain(line):match("^/(%S*)%s*(.-)%s*$")
  local command = self.commands[name]
  if command then
    command(self, rest)
  else
    self:send(("There is no /%s; /help lists the commands."):format(name))
  end
end

function Chat:onClose()
  self.byName[self.nick:lower()] = nil
  self:exit()
end

return Chat
