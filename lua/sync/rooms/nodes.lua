--- What the nodes of a cluster tell each other about rooms: words, questions and their answers.
--
-- Each word has a function that takes it: `nodes.on(word, fn)`, called as `fn(node, said)`; that of
-- a question, `nodes.answers(word, fn)`, calls `answer(table)` once. What one node tells another
-- comes in its order, or is lost.
-- @module sync.rooms.nodes

local core = require "sync.core"
local frame = require "sync.cluster.frame"
local log = require "sync.log"
local loop = require "sync.loop"

local now = core.C.sync_now

local LOOK_SECONDS = 0.25      -- between looks at who has waited too long
local MOST_QUESTIONS = 10000 -- that wait for answers

local nodes = {
  --- Seconds that a node has to answer.
  ANSWER_SECONDS = 5,
}

local MOST_LENGTH = 256 * 1024 -- bytes, about, that leave as one message
local ABOUT = 64               -- of a word, beside its texts

local cluster = false
local queued, lengths = {}, {} -- by node: words, and their bytes
local words, watchers, missers, beginners = {}, {}, {}, {}
local questions, count, last = {}, 0, 0

--- This node's number; 0: it is alone.
function nodes.own()
  return cluster and cluster.node or 0
end

--- Whether there are no others.
function nodes.isAlone()
  if not cluster then return true end
  for _, peer in pairs(cluster.nodes) do
    if peer.alive then return false end
  end
  return true
end

--- Whether another node is there.
function nodes.isAlive(number)
  local peer = cluster and cluster.nodes[number]
  return peer ~= nil and peer ~= false and peer.alive
end

--- The nodes that are there, this one included, in order.
function nodes.list()
  local list = {nodes.own()}
  for number, peer in pairs(cluster and cluster.nodes or {}) do
    if peer.alive then list[#list + 1] = number end
  end
  table.sort(list)
  return list
end

--- The others that are there.
function nodes.others()
  local list = {}
  for number, peer in pairs(cluster and cluster.nodes or {}) do
    if peer.alive then list[#list + 1] = number end
  end
  return list
end

--- The engine that links the nodes; nil: this one is alone.
function nodes.engine()
  return cluster and cluster.engine or nil
end

--- A name that no other process has as a node.
function nodes.name()
  return ("%d.%d"):format(cluster.node, cluster.epoch)
end

--- Seconds since the node of such a name was heard; of one that isn't there, endless.
function nodes.silence(name)
  local epoch = tonumber(name:match "^%d+%.(%d+)$")
  for _, peer in pairs(cluster and cluster.nodes or {}) do
    if peer and peer.alive and peer.epoch == epoch then return cluster.clock.now() - peer.heard end
  end
  return math.huge
end

--- Bytes that wait for the engine.
function nodes.unsent()
  return cluster and cluster.engine:unsent() or 0
end

local lastKey = math.floor(now() * 1e6) -- a process before this one had others

--- A key that no other place of a client on this node has.
function nodes.newKey()
  lastKey = lastKey + 1
  return lastKey
end

--- How many questions wait for answers.
function nodes.waiting() return count end

-- Where new rooms live.

local leaving = {} -- nodes that drain, by number
local isLeaving = false

--- This node drains: others have the rooms that are made from now on.
function nodes.leave()
  isLeaving = true
  for _, number in ipairs(nodes.list()) do
    if number ~= nodes.own() then nodes.tell(number, "leaves", {}) end
  end
end

--- The nodes on which rooms may begin, this one first: those that don't drain. If all do, this one.
-- @treturn table a list
function nodes.takers()
  local own = nodes.own()
  local takers = {not isLeaving and own or nil}
  for _, number in ipairs(nodes.list()) do
    if number ~= own and not leaving[number] then takers[#takers + 1] = number end
  end
  if not takers[1] then takers[1] = own end
  return takers
end

--- What the next process of this node has to know: numbers that are used, and who drains.
function nodes.pack()
  return {lastKey = lastKey, lastQuestion = last, leaving = leaving, isLeaving = isLeaving}
end

--- Goes on with that.
function nodes.unpack(told)
  lastKey, last, leaving, isLeaving = told.lastKey, told.lastQuestion, told.leaving, told.isLeaving
end

--- Takes a word.
-- @tparam string word
-- @tparam function fn of the number of the node that says it, and a table
function nodes.on(word, fn) words[word] = fn end

--- Calls a function when this process is a node.
function nodes.whenBegun(fn) beginners[#beginners + 1] = fn end

--- Calls a function with the number of a node of which something that it has said was lost.
function nodes.whenMissed(fn) missers[#missers + 1] = fn end

--- Calls a function with the number of a node that has come or gone, and whether it's there.
function nodes.watch(fn) watchers[#watchers + 1] = fn end

-- What is said in a tick leaves as one message, or as some where it's long.

local function send(number)
  local list = queued[number]
  queued[number] = nil
  if nodes.isAlive(number) then cluster:tell(cluster.nodes[number], frame.ROOM, list) end
end

local function flush()
  for number in pairs(queued) do send(number) end
end

local function enqueue(number, said)
  local list = queued[number]
  if not list then
    list = {}
    queued[number], lengths[number] = list, 0
    loop.atEnd(flush)
  end
  list[#list + 1] = said
  local length = ABOUT
  for _, value in pairs(said) do
    if type(value) == "string" then length = length + #value end
  end
  lengths[number] = lengths[number] + length
  if lengths[number] > MOST_LENGTH then send(number) end
end

--- Says a word to a node, or to this one. The table is the receiver's from now on.
-- @treturn boolean false: it isn't there
function nodes.tell(number, word, said)
  said.word = word
  if number == nodes.own() then
    words[word](number, said)
    return true
  end
  if not nodes.isAlive(number) then return false end
  enqueue(number, said)
  return true
end

--- A list that several parts add to, which a node gets as one word: the last of this tick, if that
-- is this word, so that nothing comes out of its order; or a new one.
-- @tparam number number
-- @tparam string word
-- @tparam number bytes by which it grows, about
-- @treturn table|nil with `list` and `n`, its length; nil: the node isn't there
function nodes.lot(number, word, bytes)
  local queue = queued[number]
  local lot = queue and queue[#queue]
  if not lot or lot.word ~= word or not lot.n then
    if not nodes.isAlive(number) then return nil end
    lot = {word = word, list = {}, n = 0}
    enqueue(number, lot)
  elseif lengths[number] + bytes > MOST_LENGTH then
    send(number)
    return nodes.lot(number, word, bytes)
  end
  lengths[number] = lengths[number] + bytes
  return lot
end

-- Ends the waiting for an answer. Returns who waits.
local function settle(question)
  local asked = questions[question]
  if not asked then return nil end
  questions[question] = nil
  count = count - 1
  return asked
end

local function lose(asked)
  if asked then loop.guard("what waits for another node", asked.lost, asked) end
end

-- One timer for all questions: to start and stop one for each would cost more than the rest.
local timer

local function giveUp()
  local late, time = {}, now()
  for question, asked in pairs(questions) do
    if asked.due < time then late[#late + 1] = question end
  end
  for _, question in ipairs(late) do lose(settle(question)) end
  if count == 0 then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- Waits for an answer of a node, which somebody asks for in words of their own.
-- @tparam number number
-- @tparam table asked who waits: gets the fields `node`, `due` and `lost`
-- @tparam function lost called with it, when there is no answer in time, or at once
-- @tparam[opt] number seconds
-- @treturn number|nil the number of the question; nil: too many wait, and it was lost
function nodes.expect(number, asked, lost, seconds)
  if count >= MOST_QUESTIONS then return lost(asked) end
  last, count = last + 1, count + 1
  asked.node, asked.due, asked.lost = number, now() + (seconds or nodes.ANSWER_SECONDS), lost
  questions[last] = asked
  timer = timer or loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, giveUp)
  return last
end

--- Who waits for an answer, which a node has given; nil: nobody does any more.
function nodes.settle(question, number)
  local asked = questions[question]
  if asked and asked.node == number then return settle(question) end
end

--- There will be no answer.
function nodes.giveUp(question)
  lose(settle(question))
end

local function unanswered(asked) asked.done(nil) end

--- Asks a node. `done` gets the answer, a table; or nil, when there is none in time.
-- @tparam number number
-- @tparam string word
-- @tparam table said
-- @tparam function done
-- @tparam[opt] number seconds
function nodes.ask(number, word, said, done, seconds)
  local question = nodes.expect(number, {done = done}, unanswered, seconds)
  if not question then return end
  said.question = question
  if not nodes.tell(number, word, said) then nodes.giveUp(question) end
end

--- Takes a question: `fn(node, said, answer)`.
function nodes.answers(word, fn)
  words[word] = function(number, said)
    fn(number, said, function(answer)
      if not said.question then return end -- nobody waits for it
      answer.question = said.question
      nodes.tell(number, "answer", answer)
    end)
  end
end

nodes.on("leaves", function(number) leaving[number] = true end)

nodes.on("answer", function(number, said)
  local asked = nodes.settle(said.question, number)
  if asked then asked.done(said) end
end)

local function changed(number, isThere)
  leaving[number] = nil
  if not isThere then
    local lost = {}
    for question, asked in pairs(questions) do
      if asked.node == number then lost[#lost + 1] = question end
    end
    for _, question in ipairs(lost) do lose(settle(question)) end
  end
  for _, fn in ipairs(watchers) do loop.guard("rooms of another node", fn, number, isThere) end
end

--- This process is a node from now on.
-- @tparam sync.cluster of
function nodes.begin(of)
  cluster = of
  of:onRooms {
    said = function(number, list)
      for _, said in ipairs(list) do
        local take = words[said.word]
        if take then
          loop.guard("what another node says of rooms", take, number, said)
        else
          log.limited("warn", "rooms", "another node says what this one doesn't know: are they " ..
            "of one version?", {node = number})
        end
      end
    end,
    changed = changed,
    missed = function(number)
      for _, fn in ipairs(missers) do loop.guard("rooms of another node", fn, number) end
    end,
  }
  for _, fn in ipairs(beginners) do fn() end
end

return nodes
