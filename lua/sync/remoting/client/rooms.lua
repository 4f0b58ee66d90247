--- The rooms that a client of `sync.connect` is in.
-- @classmod sync.remoting.client.rooms

local Joined = require "sync.remoting.joined"
local failure = require "sync.remoting.client.failure"
local log = require "sync.log"
local patches = require "sync.remoting.patches"

local RETURN_SECONDS = 20 -- at least, for the answer

local Rooms = {}
Rooms.__index = Rooms

--- Makes those of a client, of which there are none.
-- @tparam sync.Client client
function Rooms.new(client)
  return setmetatable({client = client, byNumber = {}}, Rooms)
end

-- Coming in.

local function enter(self, told)
  local ok, room = pcall(Joined.create, self.client, told)
  if not ok then -- this client is too old for the room
    self:leave(told)
    return nil, failure("unknown", tostring(room))
  end
  self.byNumber[room.number] = room
  return room
end

--- Leaves a room that nobody here is in.
-- @param told what the server has answered to who came in
function Rooms:leave(told)
  if type(told) ~= "table" then return end
  self.client.requests:tellNamed("sync.leave", {room = told.room})
end

--- Comes into a room by a call of the server.
-- @tparam string method the server's
-- @tparam table params
-- @tparam function answered called with the `sync.JoinedRoom`, or with nil and an error
function Rooms:come(method, params, answered)
  self.client.requests:askNamed(method, params, function(told, err)
    if err then answered(nil, err) else answered(enter(self, told)) end
  end, function(told) self:leave(told) end)
end

-- One that outlives its node may have to come up again first.
local function comeBack(self, room)
  local function answered(told)
    if not told then return room:left "lost" end
    if not room.isIn then return self:leave(told) end
    self.byNumber[told.room] = room
    room:returned(told)
  end
  local requests = self.client.requests
  local seconds = requests.settings.timeout
  requests:call("sync.joinById", {named = {id = room.back}}, answered,
    {offline = "queue", timeout = seconds and math.max(seconds, RETURN_SECONDS),
      late = function(told) self:leave(told) end})
end

--- The node that had the session has died. Who was in a room of another node comes back there, as
-- the member that it was, and so does who was in a room that persists; others are lost.
function Rooms:comeBack()
  local rooms = self.byNumber
  self.byNumber = {}
  for _, room in pairs(rooms) do
    if room.back then comeBack(self, room) else room:left "lost" end
  end
end

-- What the server says.

--- The session goes on at another node, where the room has another number.
function Rooms:renumber(old, number)
  local room = self.byNumber[old]
  if not room then return end
  self.byNumber[old] = nil
  self.byNumber[number] = room
  room.number = number
end

--- The client isn't in the room of this number any more.
function Rooms:left(number, reason)
  local room = self.byNumber[number]
  if room then room:left(reason) end
end

--- Nor in any.
function Rooms:lose(reason)
  for _, room in pairs(self.byNumber) do room:left(reason) end
end

--- A room isn't one of these any more.
function Rooms:remove(room)
  if self.byNumber[room.number] == room then self.byNumber[room.number] = nil end
end

--- The connection is a new one.
function Rooms:resumed()
  for _, room in pairs(self.byNumber) do room:resumed() end
end

--- A patch has come. One for a room that was left is for nothing.
function Rooms:patch(params)
  local data = type(params) == "table" and params[1]
  local bytes = type(data) == "table" and data.amf == "bytes" and data.data
  local read = bytes and patches.ofBytes or patches.ofObject
  local ok, patch = pcall(read, bytes or data)
  local refused
  if ok then
    local room = self.byNumber[patch.room]
    refused = room and room:take(patch)
  else
    refused = tostring(patch)
    for _, room in pairs(self.byNumber) do room:ask() end
  end
  if refused then
    log.limited("warn", "patch",
      ("%s sent a patch that is wrong: %s"):format(self.client.url, refused))
  end
end

return Rooms
