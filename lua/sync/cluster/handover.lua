--- Sessions that move: a client with `resumeTime` comes back to another node than it was on.
--
-- Its token says which node has the session. That one is asked twice. At first it tells the
-- rooms and what was missed, and goes on keeping what comes; the client's new node joins the
-- rooms, and keeps what comes, too. When its rooms are heard there for sure, the rest is
-- fetched, and the session ends where it was. What both have kept is known by the events'
-- names, and is sent once.
--
-- Of a node that has died, or stopped, the journal tells the same (lua/sync/cluster/journal.lua).
-- @module sync.cluster.handover

local cjson = require "cjson"
local Remote = require "sync.remoting.remote"
local cluster = require "sync.cluster"
local frame = require "sync.cluster.frame"
local journal = require "sync.cluster.journal"
local json = require "sync.remoting.json"
local log = require "sync.log"
local loop = require "sync.loop"

local ANSWER_SECONDS = 3 -- that the other node has
local JOIN_SECONDS = 0.3 -- until rooms are heard
local KEEP_SECONDS = 10  -- that it waits to be asked again
local MOST_TAKING = 10000 -- sessions on their way here
local MOST_ASKED = 3     -- sessions of other nodes that one client may ask for
local MOST_TOKEN = 64    -- bytes

local handover = {}
local tools = Remote.sessionTools

-- What is under way for a session is its `moving`: that it's given away, or a take, which is of
-- a session on its way here. It ends by `handover.stop`, whatever has become of the client.

local asked, lastQuestion = {}, 0 -- takes, by number of the question that waits for an answer
local takingCount = 0

--- What the tokens of this node begin with.
function handover.prefix()
  return ("%d.%d."):format(cluster.node, cluster.epoch())
end

--- Notes the name of the text that is kept next, for a session that is on its way. One that
-- is for this client alone has none.
function handover.note(session, event)
  session.moving.names[session.last + 1] = event and cluster.eventName() or ""
end

-- A take waits for one thing at a time: an answer, or a moment. What else comes is too late.
local function settle(take)
  if take.timer then loop.stopTimer(take.timer) end
  if take.question then asked[take.question] = nil end
  take.timer, take.question = nil, nil
end

--- Ends what is under way for a session.
function handover.stop(session)
  local moving = session.moving
  session.moving, session.isHeld = nil, false
  settle(moving)
  if moving.client then
    moving.isOver = true
    takingCount = takingCount - 1
  end
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
  if session.moving then handover.stop(session) end -- a newer connection asks
  session.moving = {names = {}, given = session.last,
    timer = loop.startTimer(KEEP_SECONDS, 0, function() handover.stop(session) end)}
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

-- Whether a take goes on: who closes its client ends it.
local function goesOn(take)
  if not take.isOver and take.client.closing then handover.stop(take.client.session) end
  return not take.isOver
end

local function wait(take, seconds, fn)
  take.timer = loop.startTimer(seconds, 0, function()
    settle(take)
    if goesOn(take) then fn(take) end
  end)
end

-- The client is a new one: it is in no other rooms than before, and gets what was held.
local function refuse(take)
  local client, session = take.client, take.client.session
  handover.stop(session)
  for name in pairs(take.entered or {}) do client:leave(name) end
  for name, before in pairs(take.fields or {}) do client[name] = before.value end
  take.done(nil)
  if not take.held then return end
  if session.first > take.held then return client:close("full") end
  for number = take.held, session.last do client:send(session:text(number)) end
end

local recover

local function ask(take, isRest)
  lastQuestion = lastQuestion + 1
  take.question = lastQuestion
  asked[lastQuestion] = take
  wait(take, ANSWER_SECONDS, isRest and refuse or recover)
  cluster.tell(take.node, frame.TAKE, {number = lastQuestion, class = take.class,
    token = take.token, received = take.received, isRest = isRest, id = take.client.id})
end

local function decode(text)
  local ok, value = pcall(cjson.decode, "[" .. text .. "]")
  return ok and value[1] or nil
end

-- Joins the rooms, and sets the fields.
local function become(take, given)
  local client = take.client
  take.entered, take.fields = {}, {}
  for name, text in pairs(given.fields) do
    take.fields[name] = {value = rawget(client, name)}
    client[name] = decode(text)
  end
  for name, text in pairs(given.rooms) do
    if not client:isIn(name) then take.entered[name] = true end
    client:join(name, decode(text))
  end
end

-- From now on what comes is held. The rest is asked for when the rooms are heard.
local function begin(take, given, askRest)
  take.missed = given.texts
  take.held = take.client.session.last + 1 -- the first that is
  take.client.session.isHeld = true
  become(take, given)
  wait(take, JOIN_SECONDS, askRest)
end

local function askRest(take)
  ask(take, true)
end

-- The rest, and behind it what has come here and not there. The session begins anew.
local function complete(take, texts, known)
  local missed, session = take.missed, take.client.session
  if session.first > take.held then return refuse(take) end -- too much has come
  for _, text in ipairs(texts) do missed[#missed + 1] = text end
  for number = take.held, session.last do
    local name = take.names[number]
    if name == "" or not known[name] then missed[#missed + 1] = session:text(number) end
  end
  handover.stop(session)
  session:restart()
  journal.restart(take.client)
  take.done(missed, take.isRebuilt)
end

local function deliverLate(said)
  local client = loop.find(said.id)
  if client then client:transmit(said.late) end
end

cluster.onFrame(frame.GIVEN, function(_, said)
  if said.late then return deliverLate(said) end
  local take = asked[said.number]
  if not take then return end
  settle(take)
  if not goesOn(take) then return end
  if said.isRefused then return refuse(take) end
  if not take.missed then return begin(take, said, askRest) end
  local known = {}
  for _, name in ipairs(said.names) do known[name] = true end
  complete(take, said.texts, known)
end)

-- The node doesn't answer: what is left of the session is looked for. The rooms are joined
-- before their logs are read, so that nothing falls between.
function recover(take)
  local function giveUp(why)
    log.limited("info", "session", "a client begins anew, its session is lost: " .. why,
      {client = take.client.id, node = take.number})
    refuse(take)
  end
  journal.find(take.number, take.epoch, take.token, function(found, why)
    if not goesOn(take) then return end
    if not found then return giveUp(why) end
    if found.class ~= take.class then return giveUp("it is of another class") end
    take.isRebuilt = true
    begin(take, {texts = {}, rooms = found.rooms, fields = found.fields}, function()
      journal.missed(found, take.token, take.received, function(missed, known)
        if not goesOn(take) then return end
        if not missed then return giveUp(known) end
        complete(take, missed, known)
      end)
    end)
  end)
end

-- Whether a client may ask for a session of another node.
local function mayAsk(client)
  local session = client.session
  if client.wire ~= json or session.moving or takingCount >= MOST_TAKING then return false end
  session.asked = (session.asked or 0) + 1
  return session.asked <= MOST_ASKED
end

--- Takes a session over from the node that its token names.
-- @tparam sync.Remote client the newcomer, whose session becomes that one
-- @tparam string token
-- @tparam number received how many messages of it the client has
-- @tparam function done called later, if the client is still there: with a list of texts, and
-- whether they are of a journal, so that calls in work are lost; or with nil when there is no
-- such session
-- @treturn boolean false when the token names no other node, or the client has asked too often:
-- `done` isn't called
function handover.take(client, token, received, done)
  local number, itsEpoch = token:match "^(%d+)%.(%d+)%.%x+$"
  number, itsEpoch = tonumber(number), tonumber(itsEpoch)
  local isOurs = number == cluster.node and itsEpoch == cluster.epoch()
  if not number or isOurs or #token > MOST_TOKEN or not mayAsk(client) then return false end
  local node = cluster.nodes[number]
  local take = {number = number, epoch = itsEpoch, node = node,
    class = getmetatable(client).className, token = token, received = received, client = client,
    done = done, names = {}}
  client.session.moving = take
  takingCount = takingCount + 1
  if node and node.alive and node.epoch == itsEpoch then ask(take, false) else recover(take) end
  return true
end

return handover
