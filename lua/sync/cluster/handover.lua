--- Sessions that move: a client with `resumeTime` comes back to another node than it was on.
--
-- Its token says which node has the session. That node is asked twice. At first it tells the
-- rooms and what was missed, and goes on keeping what comes; the client's new node joins the
-- rooms, and keeps what comes, too. When its rooms are heard there for sure, the rest is
-- fetched, and the session ends where it was. What both have kept is known by the events'
-- names, and is sent once.
--
-- Of a node that has died, or stopped, the journal tells the same (lua/sync/cluster/journal.lua).
--
-- This is the session store of a cluster's classes, of which lua/sync/remoting/resume.lua says
-- what it does.
-- @classmod sync.cluster.handover

local History = require "sync.cluster.history"
local auth = require "sync.auth"
local frame = require "sync.cluster.frame"
local json = require "sync.remoting.json"
local log = require "sync.log"
local loop = require "sync.loop"
local resume = require "sync.remoting.resume"
local values = require "sync.cluster.values"

local ANSWER_SECONDS = 3 -- that the other node has
local JOIN_SECONDS = 0.3 -- until rooms are heard
local KEEP_SECONDS = 10  -- that a session is kept for the second question
local MOST_TAKING = 10000 -- sessions on their way here
local MOST_ASKED = 3     -- sessions of other nodes that one client may ask for
local MOST_TOKEN = 64    -- bytes

-- What is under way for a session is its `moving`: that the session is given away, or a take,
-- which is of a session on its way here. It ends by `stop`, whatever has become of the client.

local Handover = {}
Handover.__index = Handover

--- Makes that of a node.
-- @tparam sync.cluster cluster
function Handover.new(cluster)
  return setmetatable({
    cluster = cluster, clock = cluster.clock, journal = cluster.journal,
    history = History.new(cluster),
    waiting = {}, lastQuestion = 0, -- takes, by number of the question that waits for an answer
    takingCount = 0,
  }, Handover)
end

-- A session's life.

--- What the tokens of this node begin with.
-- @treturn string
function Handover:prefix()
  return ("%d.%d."):format(self.cluster.node, self.cluster.epoch)
end

--- A session has begun. The journal knows those that speak JSON.
function Handover:begin(client)
  if client._wire == json then self.journal:begin(client) end
end

-- For a while a session is kept that another node has asked for.
local function keepGiven(self, session, moving)
  session.moving = moving
  moving.timer = self.clock.startTimer(KEEP_SECONDS, 0, function() self:stop(session) end)
end

--- A session of the process before goes on, also one that another node has asked for.
-- @tparam sync.Remote client
-- @tparam table told of `Session:pack`
function Handover:goOn(client, told)
  if told.moving then keepGiven(self, client._session, told.moving) end
  if told.sid then
    self.journal:goOn(client, told.sid)
  elseif client._wire == json then
    self.journal:begin(client)
  end
end

--- A session keeps a text as its last. An event has the same name on all nodes; what is for
-- the client alone has none.
function Handover:kept(session, text, event)
  local name = event and event.name or nil
  if session.moving then session.moving.names[session.last] = name or "" end
  if session.sid then self.journal:note(session, session.last, name, text) end
end

function Handover:joined(client, room)
  if client._session.sid then self.journal:joined(client, room) end
end

function Handover:left(client, room)
  if client._session.sid then self.journal:left(client, room) end
end

-- A take waits for one thing at a time: an answer, or a moment. What else comes is too late.
local function settle(self, take)
  if take.timer then self.clock.stopTimer(take.timer) end
  if take.question then self.waiting[take.question] = nil end
  take.timer, take.question = nil, nil
end

--- Ends what is under way for a session.
function Handover:stop(session)
  local moving = session.moving
  if not moving then return end
  session.moving, session.isHeld = nil, false
  settle(self, moving)
  if moving.client then
    moving.isOver = true
    self.takingCount = self.takingCount - 1
  end
end

--- A session has ended.
function Handover:finish(session)
  self:stop(session)
  self.journal:finish(session)
end

-- The node that has a session.

-- What a session has kept behind number `from`: texts, and names of their events.
local function keptBehind(session, from)
  local texts, names = {}, {}
  for number = from + 1, session.last do
    texts[#texts + 1] = session:text(number)
    names[#texts] = session.moving.names[number] or ""
  end
  return texts, names
end

function Handover:find(said)
  local class = self.cluster.classes[said.class]
  return class and class.sessions and class.sessions[said.token]
end

-- The first question. Returns what is answered, nil when there is no such session.
function Handover:give(said)
  local client = self:find(said)
  if not client or client.closing or client._wire ~= json or not resume.release(client) then
    return nil
  end
  local session = client._session
  if not session:reaches(said.received) then
    resume.expire(client)
    return nil
  end
  self:stop(session) -- where a newer connection asks
  keepGiven(self, session, {names = {}, given = session.last})
  return {texts = keptBehind(session, said.received), rooms = self.journal.roomsOf(client),
    fields = self.journal.fieldsOf(client)}
end

-- The second one: the session ends here. What the instance still answers, and fires at its
-- client, is passed on.
function Handover:giveRest(said, peer)
  local client = self:find(said)
  local session = client and client._session
  if not session or not session.moving or not session.away then return nil end
  local texts, names = keptBehind(session, session.moving.given)
  if session.moving.given + 1 < session.first then texts = nil end -- too much came meanwhile
  session.successor = texts and {peer = peer, id = said.id}
  local places = texts and client:packPlaces()
  resume.expire(client, "moved")
  return texts and {texts = texts, names = names, places = places}
end

--- A node asks for a session.
function Handover:asked(peer, said)
  local give = said.isRest and self.giveRest or self.give
  local answer = give(self, said, peer) or {isRefused = true}
  answer.number = said.number
  self.cluster:tell(peer, frame.GIVEN, answer)
end

--- Sends a text to the client by the node that has its session now.
-- @treturn boolean,string as `send`
function Handover:forward(session, text)
  local successor = session.successor
  if not successor.peer.alive then return false, "closed" end
  self.cluster:tell(successor.peer, frame.GIVEN, {id = successor.id, late = text})
  return true
end

-- The node to which its client has come.

-- Whether a take goes on: who closes its client ends it.
local function goesOn(self, take)
  if not take.isOver and take.client.closing then self:stop(take.client._session) end
  return not take.isOver
end

local function wait(self, take, seconds, fn)
  take.timer = self.clock.startTimer(seconds, 0, function()
    settle(self, take)
    if goesOn(self, take) then fn(self, take) end
  end)
end

-- The client is a new one: it is in no other rooms than before, and gets what was held.
local function refuse(self, take)
  local client, session = take.client, take.client._session
  self:stop(session)
  for name in pairs(take.entered or {}) do client:leave(name) end
  for name, before in pairs(take.fields or {}) do client[name] = before.value end
  take.done(nil)
  if not take.held then return end
  if session.first > take.held then return client:close("full") end
  for number = take.held, session.last do client:transmitNow(session:text(number)) end
end

local recover

local function ask(self, take, isRest)
  self.lastQuestion = self.lastQuestion + 1
  take.question = self.lastQuestion
  self.waiting[take.question] = take
  wait(self, take, ANSWER_SECONDS, isRest and refuse or recover)
  self.cluster:tell(take.peer, frame.TAKE, {number = take.question, class = take.class,
    token = take.token, received = take.received, isRest = isRest, id = take.client.id})
end

-- Joins the rooms, and sets the fields.
local function become(take, given)
  local client = take.client
  take.entered, take.fields = {}, {}
  if client.auth then given.fields.user = nil end -- its own token has said whose it is
  for name, text in pairs(given.fields) do
    take.fields[name] = {value = rawget(client, name)}
    client[name] = values.read(text)
  end
  for name, text in pairs(given.rooms) do
    if not client:isIn(name) then take.entered[name] = true end
    client:join(name, values.read(text))
  end
end

-- Whether the session was another user's.
local function isOthers(take, given)
  local client, user = take.client, given.fields.user
  return client.auth and not auth.isSame(user and values.read(user), client.user)
end

-- From now on what comes is held. The rest is asked for when the rooms are heard.
local function begin(self, take, given, askRest)
  if isOthers(take, given) then return refuse(self, take) end
  take.missed = given.texts
  take.held = take.client._session.last + 1 -- the first that is
  take.client._session.isHeld = true
  become(take, given)
  wait(self, take, JOIN_SECONDS, askRest)
end

local function askRest(self, take)
  ask(self, take, true)
end

-- The rest, and behind it what has come here and not there. The session begins anew.
local function complete(self, take, texts, known, places)
  local missed, had, session = take.missed, {}, take.client._session
  if session.first > take.held then return refuse(self, take) end -- too much has come
  for _, text in ipairs(texts) do missed[#missed + 1] = text end
  for number = take.held, session.last do
    local name = take.names[number]
    if name ~= "" then had[name] = true end
    if name == "" or not known[name] then missed[#missed + 1] = session:text(number) end
  end
  self:stop(session)
  session:restart()
  self.journal:restart(take.client)
  if not take.isRebuilt then -- or it tells of all that the session has had
    for name in pairs(known) do if name ~= "" then had[name] = true end end
  end
  self.journal:had(session, had)
  take.done(missed, take.isRebuilt)
  if places then take.client:adoptPlaces(places) end
end

local function deliverLate(said)
  local client = loop.find(said.id)
  if client then client:transmit(said.late) end
end

--- A node answers, or passes on what is for a client whose session it had.
function Handover:given(said)
  if said.late then return deliverLate(said) end
  local take = self.waiting[said.number]
  if not take then return end
  settle(self, take)
  if not goesOn(self, take) then return end
  if said.isRefused then return refuse(self, take) end
  if not take.missed then return begin(self, take, said, askRest) end
  local known = {}
  for _, name in ipairs(said.names) do known[name] = true end
  complete(self, take, said.texts, known, said.places)
end

-- The node doesn't answer: what is left of the session is looked for. The rooms are joined
-- before their logs are read, so that nothing falls between.
function recover(self, take)
  local history = self.history
  local function giveUp(why)
    log.limited("info", "session", "a client begins anew, its session is lost: " .. why,
      {client = take.client.id, node = take.number})
    refuse(self, take)
  end
  local function complain(found, why)
    if not found then return why end
    if found.class ~= take.class then return "it is of another class" end
  end
  history:find(take.number, take.epoch, take.token, function(found, why)
    if not goesOn(self, take) then return end
    local problem = complain(found, why)
    if problem then return giveUp(problem) end
    take.isRebuilt = true
    begin(self, take, {texts = {}, rooms = found.rooms, fields = found.fields}, function()
      history:missed(found, take.token, take.received, function(missed, known)
        if not goesOn(self, take) then return end
        if not missed then return giveUp(known) end
        complete(self, take, missed, known)
      end)
    end)
  end)
end

-- Whether a client may ask for a session of another node.
function Handover:mayAsk(client)
  local session = client._session
  if client._wire ~= json or session.moving or self.takingCount >= MOST_TAKING then return false end
  session.asked = (session.asked or 0) + 1
  return session.asked <= MOST_ASKED
end

--- Takes a session over from the node that its token names.
-- @tparam sync.Remote client the newcomer, whose session becomes that one
-- @tparam string token
-- @tparam number received how many messages of the session the client has
-- @tparam function done called later, if the client is still there: with a list of texts, and
-- whether they are of a journal, so that calls in work are lost; or with nil when there is no
-- such session
-- @treturn boolean false when the token names no other node, or the client has asked too often:
-- `done` isn't called
function Handover:take(client, token, received, done)
  local cluster = self.cluster
  local number, epoch = token:match "^(%d+)%.(%d+)%.%x+$"
  number, epoch = tonumber(number), tonumber(epoch)
  local isOurs = number == cluster.node and epoch == cluster.epoch
  if not number or isOurs or #token > MOST_TOKEN or not self:mayAsk(client) then return false end
  local peer = cluster.nodes[number]
  local take = {number = number, epoch = epoch, peer = peer, class = getmetatable(client).className,
    token = token, received = received, client = client, done = done, names = {}}
  client._session.moving = take
  self.takingCount = self.takingCount + 1
  if peer and peer.alive and peer.epoch == epoch then
    ask(self, take, false)
  else
    recover(self, take)
  end
  return true
end

return Handover
