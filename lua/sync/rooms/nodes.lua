--- What the nodes of a cluster tell each other about rooms: words, questions and their answers.
--
-- Each word has a function that takes it: `nodes.on(word, fn)`, called as `fn(node, said)`; that of
-- a question, `nodes.answers(word, fn)`, calls `answer(table)` once. What one node tells another
-- comes in its order, or is lost.
-- @module sync.rooms.nodes

local frame = require "sync.cluster.frame"
local log = require "sync.log"
local loop = require "sync.loop"

local MOST_QUESTIONS = 10000 -- that wait for answers

local nodes = {
  --- Seconds that a node has to answer.
  ANSWER_SECONDS = 5,
}

local cluster = false
local words, watchers = {}, {}
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

--- Calls a function with the number of a node that has come or gone, and whether it's there.
function nodes.watch(fn) watchers[#watchers + 1] = fn end

--- Says a word to a node, or to this one.
-- @treturn boolean false: it isn't there
function nodes.tell(number, word, said)
  said.word = word
  if number == nodes.own() then
    words[word](number, said)
    return true
  end
  if not nodes.isAlive(number) then return false end
  cluster:tell(cluster.nodes[number], frame.ROOM, said)
  return true
end

local function settle(question)
  local asked = questions[question]
  if not asked then return nil end
  questions[question] = nil
  count = count - 1
  loop.stopTimer(asked.timer)
  return asked.done
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
    timer = loop.startTimer(seconds or nodes.ANSWER_SECONDS, 0, function()
      settle(question)(nil)
    end)}
  said.question = question
  if not nodes.tell(number, word, said) then settle(question)(nil) end
end

--- Takes a question: `fn(node, said, answer)`.
function nodes.answers(word, fn)
  words[word] = function(number, said)
    fn(number, said, function(answer)
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
    said = function(number, said)
      local take = words[said.word]
      if take then return take(number, said) end
      log.limited("warn", "rooms", "another node says what this one doesn't know: are they of " ..
        "one version?", {node = number})
    end,
    changed = changed,
  }
end

return nodes
