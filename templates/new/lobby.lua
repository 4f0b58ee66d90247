-- A lobby: people come in with a name, and talk. The class is the server, an instance is one
-- client; clients can call what stands on `remote`, and nothing else.

local sync = require "sync"

local Lobby = sync.Remote:extend("Lobby")

Lobby.maxMessage = 4096 -- bytes of a call; a longer one closes the client

local LONGEST_NAME, LONGEST_TEXT = 24, 500 -- bytes

-- Codes of what clients are told when they may not.
local BAD_NAME, TAKEN, NOT_IN, TOO_LONG = 1, 2, 3, 4

local function isName(text)
  return #text <= LONGEST_NAME and text:find("%S") ~= nil and not text:find("%c")
end

-- Not `name`, which is the class's own: an instance would inherit it.
local function isIn(client)
  return client.nick ~= nil
end

function Lobby:names()
  local names = {}
  for client in self.clients:filter(isIn) do names[#names + 1] = client.nick end
  return names
end

--- Comes in. Returns the names of all who are in; the others get onJoin.
Lobby.remote.join = sync.method("name: string", {rate = 1, burst = 5}, function(self, name)
  if not isName(name) or self.nick then
    error(sync.fault(BAD_NAME, self.nick and "you are in already" or
      ("a name has 1 to %d bytes"):format(LONGEST_NAME)))
  end
  for client in self.clients do
    if client.nick == name then error(sync.fault(TAKEN, name .. " is taken")) end
  end
  self.nick = name
  self.clients:filter(isIn):except(self):fire("onJoin", name)
  return self:names()
end)

--- Says something to all who are in, the speaker too: onSay.
Lobby.remote.say = sync.method("text: string", {rate = 5, burst = 10}, function(self, text)
  if not self.nick then error(sync.fault(NOT_IN, "join first")) end
  if #text > LONGEST_TEXT then
    error(sync.fault(TOO_LONG, ("a text has at most %d bytes"):format(LONGEST_TEXT)))
  end
  self.clients:filter(isIn):fire("onSay", self.nick, text)
end)

function Lobby:onClose()
  if self.nick then self.clients:filter(isIn):fire("onLeave", self.nick) end
end

return Lobby
