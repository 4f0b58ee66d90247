--- Answers that wait for a join: who is told that it has joined gets what other nodes send to the
-- room from then on.
--
-- A room of which the node hasn't heard takes the engine a moment, in which what others send is
-- lost. While a client's join is on its way to the engine, answers to the client wait, in their
-- order; see `whenHeard` in lua/sync/cluster/presence.lua for how long. What is under way is kept
-- in the client's `joined`, beside its rooms.
-- @module sync.remoting.arrival

local arrival = {}

-- A join is heard of.
local function heard(client, joined)
  joined.underWay = joined.underWay - 1
  local held = joined.held
  if joined.underWay > 0 or not held then return end
  joined.held = nil
  for _, answer in ipairs(held) do answer.send(client, answer.id, answer.text) end
end

--- A client has joined a room.
-- @tparam sync.Remote client
-- @tparam string name of the room
function arrival.expect(client, name)
  local joined = client.joined
  local channel = joined.rooms[name].channel
  if not channel or not channel:whenHeard(function() heard(client, joined) end) then return end
  joined.underWay = (joined.underWay or 0) + 1
end

--- Holds an answer, while a join is under way: at most `maxCalls` of them.
-- @tparam sync.Remote client
-- @tparam function send is called with the client, the id and the text, later
-- @param id
-- @tparam string text
-- @treturn boolean false: it needn't wait, or too many do
function arrival.holds(client, send, id, text)
  local joined = client.joined
  if not joined or (joined.underWay or 0) == 0 then return false end
  local held = joined.held or {}
  if #held >= client.maxCalls then return false end
  joined.held = held
  held[#held + 1] = {send = send, id = id, text = text}
  return true
end

return arrival
