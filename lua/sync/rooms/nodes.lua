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
local words, watchers, beginners = {}, {}, {}
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

local lastKey = 0

--- A key that no other place of a client on this node has.
function nodes.newKey()
  lastKey = lastKey + 1
  return lastKey
end

--- Takes a word.
-- @tparam string word
-- @tparam function fn of the number of the node that says it, and a table
function nodes.on(word, fn) words[word] = fn end

--- Calls a function when this process is a node.
function nodes.whenBegun(fn) beginners[#beginners + 1] = fn end

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

local function settle(question)
  local asked = questions[question]
  if not asked then return nil end
  questions[question] = nil
  count = count - 1
  return asked.done
end

-- One timer for all questions: to start and stop one for each would cost more than the rest.
local timer

local function giveUp()
  local late, time = {}, now()
  for question, asked in pairs(questions) do
    if asked.due < time then late[#late + 1] = question end
  end
  for _, question in ipairs(late) do
    local done = settle(question)
    if done then loop.guard("what waits for another node", done, nil) end
  end
  if count == 0 then
    loop.stopTimer(timer)
    timer = nil
  end
end

--- Asks a node. `done` gets the answer, a table; or nil, when there is none in time.
-- @tparam number number
-- @tparam string word
-- @tparam table said
-- @tparam function done
-- @tparam[opt] number seconds
function nodes.ask(number, word, said, done, seconds)
  if count >= MOST_QUESTIONS then return done(nil) end
  last, count = last + 1, count + 1
  local question = last
  questions[question] = {node = number, done = done,
    due = now() + (seconds or nodes.ANSWER_SECONDS)}
  timer = timer or loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, giveUp)
  said.question = question
  if not nodes.tell(number, word, said) then settle(question)(nil) end
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

nodes.on("answer", function(number, said)
  local asked = questions[said.question]
  if asked and asked.node == number then settle(said.question)(said) end
end)

local function changed(number, isThere)
  if not isThere then
    local lost = {}
    for question, asked in pairs(questions) do
      if asked.node == number then lost[#lost + 1] = question end
    end
    for _, question in ipairs(lost) do
      local done = settle(question)
      if done then done(nil) end
    end
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
  }
  for _, fn in ipairs(beginners) do fn() end
end

return nodes
