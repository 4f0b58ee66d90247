--- Rooms whose home has died come up again: each node looks for leases that nobody renews any more,
-- and shares with the others what was kept under one that is over.
--
-- Who takes which room is worked out from the ids of the rooms and the numbers of the nodes, so
-- that most are asked for by one node alone. If that one doesn't take it, the next does. Of two
-- that ask one gets it.
-- @module sync.rooms.takeover

local core = require "sync.core"
local directory = require "sync.rooms.directory"
local keeping = require "sync.rooms.keeping"
local log = require "sync.log"
local loop = require "sync.loop"
local making = require "sync.rooms.making"
local nodes = require "sync.rooms.nodes"
local seeking = require "sync.rooms.seeking"

local now = core.C.sync_now

local LOOK_SECONDS = 1
local SILENT_SECONDS = 2    -- of a node, after which its lease is looked at
local NEXT_SECONDS = 2      -- after which the next node takes a room
local AT_ONCE = 32          -- rooms that are asked for
local LONG_SECONDS = 20     -- after which what nobody could take is looked at more rarely:
local RARE_SECONDS = 30     -- so often

local store = false
local over = {}             -- since when leases are, by token
local isReading = {}        -- tokens whose rooms are asked for
local again = {}            -- when tokens are looked at next, whose rooms nobody could take

local function weight(id, node)
  local sum, text = 7, node .. "/" .. id
  for i = 1, #text do sum = (sum * 131 + text:byte(i)) % 2147483647 end
  return sum
end

-- How many nodes go before this one: all others, when it drains.
local function rank(id)
  local own, takers, before = nodes.own(), nodes.takers(), 0
  if takers[1] ~= own then return #takers end
  local mine = weight(id, own)
  for i = 2, #takers do
    if weight(id, takers[i]) > mine then before = before + 1 end
  end
  return before
end

local function restored(home, id)
  if not home then return seeking.bury(id) end
  home:whenOpen(function(problem)
    if problem or home.ended then return seeking.bury(id) end
    log.info(home.class.className .. ": a room whose home has died goes on here",
      {room = home.room.id, epoch = home.epoch})
    for _, node in ipairs(nodes.list()) do seeking.announce(node, {home}) end
    home:look()
  end)
end

-- Takes a room. `done` is called when this has come to an end.
local function take(id, class, token, done)
  if directory.count(class) >= class.maxOpen or directory.count() >= directory.MOST then
    log.limited("warn", "too many", "a room whose home has died can't go on here: there are too " ..
      "many", {room = id})
    return done()
  end
  store.kept:take(id, token, function(record, bytes, about)
    if record then
      restored(making.restore(class, record, bytes, about), id)
    end
    done()
  end)
end

-- Looks at a room that was kept under a lease. Tells whether it's still to be taken.
local function consider(id, token, done)
  store.kept:find(id, function(said, problem)
    if problem then return done(true) end
    if not said or said.token ~= token then return done(false) end
    local class = directory.class(said.about.class)
    if not class or not class.persist or directory.byId(id) or not store.lease:isValid() or
      now() - over[token] < rank(id) * NEXT_SECONDS then
      return done(true)
    end
    take(id, class, token, function() done(true) end)
  end)
end

-- Goes through the rooms of a lease that is over. With the last of them the lease is forgotten.
local function takeOver(token)
  over[token] = over[token] or now()
  if isReading[token] or now() < (again[token] or 0) then return end
  isReading[token] = true
  store.roll:read(token, function(ids)
    local at, asked, remain = 0, 0, ids == nil
    local advance
    local function considered(isLeft)
      asked, remain = asked - 1, remain or isLeft
      advance()
    end
    function advance()
      while ids and at < #ids and asked < AT_ONCE do
        at, asked = at + 1, asked + 1
        consider(ids[at], token, considered)
      end
      if asked > 0 or not isReading[token] then return end
      isReading[token] = nil
      if remain then
        again[token] = now() - over[token] > LONG_SECONDS and now() + RARE_SECONDS or nil
        return
      end
      over[token], again[token] = nil, nil
      store.roll:drop(token)
    end
    advance()
  end)
end

-- A node gives a room away.
nodes.answers("inherit", function(_, said, answer)
  local class = directory.class(said.class)
  store = keeping.start()
  if not class or not class.persist or not store or directory.byId(said.id) then
    return answer {}
  end
  store.kept:take(said.id, said.token, function(record, bytes, about)
    answer {isTaken = record ~= nil}
    if record then restored(making.restore(class, record, bytes, about), said.id) end
  end)
end)

local function look(token)
  if token == store.lease.token then return end
  local name = token:match "^(.*)%.%d+$" or ""
  if name == store.lease.name then return takeOver(token) end -- of this node itself
  if nodes.silence(name) < SILENT_SECONDS then
    store.lease:forget(token)
    over[token] = nil
    return
  end
  store.lease:look(token, function(isOver)
    if isOver then takeOver(token) end
  end)
end

local function sweep()
  if not directory.persists() then return end
  store = keeping.start()
  if not store or not store.lease:isValid() then return end
  store.roll:tokens(function(list)
    for _, token in ipairs(list or {}) do look(token) end
  end)
end

nodes.whenBegun(function() loop.startTimer(LOOK_SECONDS, LOOK_SECONDS, sweep) end)

keeping.onTaken = seeking.follow

return {}
