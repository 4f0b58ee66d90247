--- Sessions that move: a client with `resumeTime` comes back to another node than it was on.
--
-- Its token says which node has the session. That one is asked twice. At first it tells the
-- rooms and what was missed, and goes on keeping what comes; the client's new node joins the
-- rooms, and keeps what comes, too. When its rooms are heard there for sure, the rest is
-- fetched, and the session ends where it was. What both have kept is known by the events'
-- names, and is sent once.
--
-- Of a node that has died, or stopped, the journal tells the same (lua/sync/journal.lua).
-- @module sync.handover

local cjson = require "cjson"
local Remote = require "sync.protocols.remoting"
local cluster = require "sync.cluster"
local frame = require "sync.frame"
local journal = require "sync.journal"
local json = require "sync.jsonwire"
local log = require "sync.log"
local loop = require "sync.loop"

local ANSWER_SECONDS = 3 -- that the other node has
local JOIN_SECONDS = 0.3 -- until rooms are heard
local KEEP_SECONDS = 10  -- that it waits to be asked again
local MOST_TAKING = 10000 -- sessions on their way here

local handover = {}
local tools = Remote.sessionTools

local taking, takingCount, lastTaking = {}, 0, 0 -- by number: what is on its way here

--- What the tokens of this node begin with.
function handover.prefix()
  return ("%d.%d."):format(cluster.node, cluster.epoch())
end

--- Notes the name of the text that is kept next, for a session that is on its way. One that
-- is for this client alone has none.
function handover.note(session, event)
  session.moving.names[session.last + 1] = event and cluster.eventName() or ""
end

-- The node that has a session.

-- What a session has kept behind number `from`: texts, and names of their events.
local function kept(session, from)
  local texts, names = {}, {}
  for number = from + 1, session.last do
    texts[#texts + 1] = session:text(number)
    names[#texts] = session.moving.names[number] or ""
  end
  return texts, names
end

local function stopMoving(session)
  loop.stopTimer(session.moving.timer)
  session.moving = nil
end

-- The first question. Returns what is answered, nil when there is no such session.
local function give(said)
  local class = cluster.classOf(said.class)
  local client = class and class.sessions and class.sessions[said.token]
  if not client or client.closing or client.wire ~= json or not tools.release(client) then
    return nil
  end
  local session = client.session
  if said.received > session.last or said.received + 1 < session.first then
    tools.expire(client)
    return nil
  end
  if session.moving then stopMoving(session) end -- a newer connection asks
  session.moving = {names = {}, given = session.last}
  session.moving.timer = loop.startTimer(KEEP_SECONDS, 0, function() session.moving = nil end)
  return {texts = kept(session, said.received), rooms = journal.roomsOf(client),
    fields = journal.fieldsOf(client)}
end

-- The second one: the session ends here. What the instance still answers, and fires at its
-- client, is passed on.
local function giveRest(said, node)
  local class = cluster.classOf(said.class)
  local client = class and class.sessions and class.sessions[said.token]
  local session = client and client.session
  if not session or not session.moving or not session.away then return nil end
  local texts, names = kept(session, session.moving.given)
  if session.moving.given + 1 < session.first then texts = nil end -- too much came meanwhile
  stopMoving(session)
  session.heir = texts and {node = node, id = said.id}
  tools.expire(client, "moved")
  return texts and {texts = texts, names = names}
end

cluster.onFrame(frame.TAKE, function(node, said)
  local answer = (said.isRest and giveRest or give)(said, node) or {isRefused = true}
  answer.number = said.number
  cluster.tell(node, frame.GIVEN, answer)
end)

--- Sends a text to the client by the node that has its session now.
-- @treturn boolean,string as `send`
function handover.forward(heir, text)
  if not heir.node.alive then return false, "closed" end
  cluster.tell(heir.node, frame.GIVEN, {id = heir.id, late = text})
  return true
end

-- The node to which its client has come.

local function finish(take, missed)
  if not taking[take.id] then return end
  taking[take.id] = nil
  takingCount = takingCount - 1
  if take.timer then loop.stopTimer(take.timer) end
  local session = take.client.session
  session.isHeld, session.moving = false, nil
  -- The session begins anew, with what is kept from now on.
  session:restart()
  journal.restart(take.client)
  take.done(missed, take.left ~= nil)
end

local recover

local function ask(take, isRest)
  take.timer = loop.startTimer(ANSWER_SECONDS, 0, function()
    if isRest then finish(take, nil) else recover(take) end
  end)
  cluster.tell(take.node, frame.TAKE, {number = take.id, class = take.class,
    token = take.token, received = take.received, isRest = isRest, id = take.client.id})
end

local function decode(text)
  local ok, value = pcall(cjson.decode, "[" .. text .. "]")
  return ok and value[1] or nil
end

-- The rooms and the fields: from now on what comes is held.
local function begin(take, given)
  local client = take.client
  take.missed = given.texts
  client.session:restart()
  client.session.isHeld = true
  client.session.moving = {names = {}}
  for name, text in pairs(given.fields) do client[name] = decode(text) end
  for name, text in pairs(given.rooms) do client:join(name, decode(text)) end
  take.timer = loop.startTimer(JOIN_SECONDS, 0, function()
    take.timer = nil
    if take.left then take.left() else ask(take, true) end
  end)
end

-- The rest, and behind it what has come here and not there.
local function complete(take, texts, known)
  local missed, session = take.missed, take.client.session
  for _, text in ipairs(texts) do missed[#missed + 1] = text end
  if session.first > 1 then return finish(take, nil) end -- too much has come
  for number = 1, session.last do
    local name = session.moving.names[number]
    if name == "" or not known[name] then missed[#missed + 1] = session:text(number) end
  end
  finish(take, missed)
end

local function deliverLate(said)
  local client = loop.find(said.id)
  if client then client:transmit(said.late) end
end

cluster.onFrame(frame.GIVEN, function(_, said)
  if said.late then return deliverLate(said) end
  local take = taking[said.number]
  if not take or take.left then return end
  loop.stopTimer(take.timer)
  if said.isRefused or take.client.slot == 0 then return finish(take, nil) end
  if not take.missed then return begin(take, said) end
  local known = {}
  for _, name in ipairs(said.names) do known[name] = true end
  complete(take, said.texts, known)
end)

-- The node doesn't answer: what is left of the session is looked for. The rooms are joined
-- before their logs are read, so that nothing falls between.
function recover(take)
  take.timer = nil
  local function giveUp(why)
    if why then
      log.limited("info", "session", "a client begins anew, its session is lost: " .. why,
        {client = take.client.id, node = take.number})
    end
    finish(take, nil)
  end
  journal.find(take.number, take.epoch, take.token, function(session, why)
    if not session or session.class ~= take.class or take.client.slot == 0 then
      return giveUp(why)
    end
    function take.left()
      journal.missed(session, take.token, take.received, function(missed, known)
        if not missed or take.client.slot == 0 then return giveUp(known) end
        complete(take, missed, known)
      end)
    end
    begin(take, {texts = {}, rooms = session.rooms, fields = session.fields})
  end)
end

--- Takes a session over from the node that its token names.
-- @tparam sync.Remote client the newcomer, whose session becomes that one
-- @tparam string token
-- @tparam number received how many messages of it the client has
-- @tparam function done called later: with a list of texts, and whether they are of a journal,
-- so that calls in work are lost; or with nil when there is no such session
-- @treturn boolean false when the token names no node: `done` isn't called
function handover.take(client, token, received, done)
  local number, itsEpoch = token:match "^(%d+)%.(%d+)%.%x+$"
  if not number or client.wire ~= json or takingCount >= MOST_TAKING then return false end
  local node = cluster.nodes[tonumber(number)]
  lastTaking = lastTaking + 1
  takingCount = takingCount + 1
  local take = {id = lastTaking, number = tonumber(number), epoch = tonumber(itsEpoch),
    node = node, class = getmetatable(client).name, token = token, received = received,
    client = client, done = done}
  taking[take.id] = take
  if node and node.alive and node.epoch == take.epoch then ask(take, false) else recover(take) end
  return true
end

return handover
