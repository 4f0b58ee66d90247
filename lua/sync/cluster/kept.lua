--- What a node keeps in the engine so that another goes on with it: bytes under an id, which one
-- node has at a time, and nobody else writes.
--
-- An id has a *record*: a small value that says whose it is (the token of a lease, see
-- lua/sync/cluster/lease.lua), its *epoch*, a number that is higher with each node that has taken
-- it, and where its bytes are. Bytes lie beside it, in pieces that the engine takes, each writing
-- at a place of its own. A record is only replaced where it's still the one that the
-- writer has seen: so a node that doesn't know that it has lost something can't write there, and of
-- a writing that has broken off nothing is seen.
--
--     local kept = Kept.open(engine, lease)
--     local record = kept:begin(id)                         -- of something new
--     record:write(bytes, about, function(done) … end)      -- false: another has taken it
--     kept:take(id, token, function(record, bytes) … end)   -- whose lease is over
-- @classmod sync.cluster.kept

local Class = require "sync.class"
local Engine = require "sync.cluster.engine"
local buffer = require "string.buffer"
local frame = require "sync.cluster.frame"
local pieces = require "sync.state.pieces"

local PIECE = Engine.MOST_VALUE
local GONE = "-"          -- what stands in the place of a record that has ended,
local GONE_SECONDS = 60   -- for so long: a late writer finds it
local AT_ONCE = 16        -- pieces that are on their way
local AGAIN_SECONDS, TRIES = 1, 20 -- of reading what was taken

local Kept = Class:extend("Kept")
local Record = Class:extend("KeptRecord")

--- Seconds that the engine keeps what isn't written any more.
Kept.SECONDS = 86400
--- Bytes under an id.
Kept.MOST = 8 * 1024 * 1024

local function nothing() end

local function keyOf(id) return "kept/" .. id end
local function pieceKey(id, place, i) return ("kept/%s/%s.%d"):format(id, place, i) end

--- Makes one.
-- @tparam sync.cluster.engine engine
-- @tparam Lease lease of this node
function Kept.open(engine, lease)
  return Kept:new {engine = engine, lease = lease}
end

-- A record says `epoch`, `token`, `place` and `count` (of its pieces) and `about`; `text` is all
-- that as the engine has it, nil while there is none.
local function new(kept, id, said, text)
  return Record:new {kept = kept, id = id, said = said, epoch = said.epoch, text = text,
    unsure = false, -- a text that may have taken its place: no answer has come
    writings = 0,
    left = {},      -- places that nobody needs any more: {place, count}
    isLost = false} -- it's another's
end

--- Something new, with the epoch 1, which is kept when it's first written.
-- @tparam string id that nothing has had before
-- @treturn Record with `id` and `epoch`
function Kept:begin(id)
  return new(self, id, {epoch = 1, token = self.lease.token, count = 0})
end

--- What the next process of this node has to know of a record, while nothing is being written.
function Record:pack()
  return {said = self.said, text = self.text, unsure = self.unsure, writings = self.writings,
    left = self.left, isLost = self.isLost}
end

--- The record there.
-- @tparam string id
-- @tparam table told of `pack`
function Kept:goOn(id, told)
  local record = new(self, id, told.said, told.text)
  for name, value in pairs(told) do record[name] = value end
  return record
end

local function decode(text)
  local ok, said = pcall(frame.decode, text, 0)
  return ok and type(said) == "table" and type(said.epoch) == "number" and said or nil
end

-- Does many things, so many at once: `each(i, answer)`. `done(isDone, problem)` is called once.
local function all(count, each, done)
  local begun, left, isOver = 0, count, false
  local function advance()
    begun = begun + 1
    each(begun, function(isDone, problem)
      if isOver then return end
      left = left - 1
      if not isDone or left == 0 then
        isOver = true
        return done(isDone, problem)
      end
      if begun < count then advance() end
    end)
  end
  if count == 0 then return done(true) end
  for _ = 1, math.min(AT_ONCE, count) do advance() end
end

local function replaced(self, text)
  self.text, self.said = text, decode(text) or self.said
  self.epoch = self.said.epoch
end

-- Calls a function when it's known what the engine has: what had no answer may have been done.
local function settle(self, fn, done)
  if self.isLost then return done(false) end
  if self.unsure == false then return fn() end
  self.kept.engine:get(keyOf(self.id), function(current, problem)
    if problem then return done(nil, problem) end
    if current == self.unsure then
      replaced(self, current)
    elseif current ~= self.text then
      self.isLost = true
      return done(false)
    end
    self.unsure = false
    fn()
  end)
end

-- Puts a text in the place of the one that is known.
local function exchange(self, text, seconds, done)
  self.kept.engine:replace(keyOf(self.id), self.text, text, seconds, function(isDone, problem)
    if isDone then
      replaced(self, text)
    elseif problem then
      self.unsure = text
    else
      self.isLost = true
    end
    done(isDone, problem)
  end)
end

local function say(self, changes)
  local said = {token = self.kept.lease.token}
  for _, name in ipairs {"epoch", "place", "count", "about"} do
    said[name] = changes[name] == nil and self.said[name] or changes[name]
  end
  return buffer.encode(said)
end

-- Removes pieces that nobody needs.
local function tidy(self)
  local list = self.left
  self.left = {}
  for _, each in ipairs(list) do
    for i = 1, each[2] do self.kept.engine:remove(pieceKey(self.id, each[1], i)) end
  end
end

local function leave(self, said)
  if said.place then table.insert(self.left, {said.place, said.count}) end
end

-- Replaces a record whose bytes nobody needs then.
local function supersede(self, text, seconds, done)
  local before = self.said
  exchange(self, text, seconds, function(isDone, problem)
    if isDone then
      leave(self, before)
      tidy(self)
    end
    done(isDone, problem)
  end)
end

--- Writes bytes in the place of those that are kept. One writing at a time.
-- @tparam string bytes at most `Kept.MOST`
-- @tparam table about a few plain values that stand in the record
-- @tparam function done called with true; with false when it's another's by now, as all later ones
-- are; or with nil and why nobody knows: the next one will
function Record:write(bytes, about, done)
  if #bytes > Kept.MOST then
    return done(nil, ("there are more than %d bytes"):format(Kept.MOST))
  end
  settle(self, function()
    self.writings = self.writings + 1
    local place = ("%d.%d"):format(self.epoch, self.writings)
    local list, engine = pieces.cut(bytes, PIECE, self.writings), self.kept.engine
    local now = {place = place, count = #list, about = about}
    all(#list, function(i, answer)
      engine:set(pieceKey(self.id, place, i), list[i], Kept.SECONDS, answer)
    end, function(isPut, why)
      if not isPut then
        leave(self, now)
        return done(nil, why)
      end
      supersede(self, say(self, now), Kept.SECONDS, done)
    end)
  end, done)
end

--- Takes it again under this node's new lease, with the next epoch, unless another has taken it.
-- @tparam function done as that of `write`
function Record:retake(done)
  settle(self, function()
    if self.text and self.said.token == self.kept.lease.token then return done(true) end
    exchange(self, say(self, {epoch = self.epoch + 1}), Kept.SECONDS, done)
  end, done)
end

--- It has ended: nobody goes on with it.
-- @tparam[opt] function done
function Record:remove(done)
  done = done or nothing
  settle(self, function() supersede(self, GONE, GONE_SECONDS, done) end, done)
end

-- Reads the pieces of a record.
local function readPieces(self, id, said, done)
  local list = {}
  all(said.count, function(i, answer)
    self.engine:get(pieceKey(id, said.place, i), function(piece, problem)
      list[i] = piece
      answer(piece ~= nil, problem)
    end)
  end, function(isDone, problem)
    if not isDone then return done(nil, problem) end
    local joiner, whole = pieces.joiner(Kept.MOST), nil
    for _, piece in ipairs(list) do whole = joiner:add(piece) end
    done(whole)
  end)
end

-- The same, again and again while the engine doesn't answer.
local function readSurely(self, id, said, tries, done)
  readPieces(self, id, said, function(bytes, problem)
    if bytes or not problem or tries <= 1 then return done(bytes) end
    self.engine.clock.startTimer(AGAIN_SECONDS, 0, function()
      readSurely(self, id, said, tries - 1, done)
    end)
  end)
end

--- What is known of an id.
-- @tparam string id
-- @tparam function done called with a table: `epoch`, `token`, `about`; with nil when there is
-- none; or with nil and why nobody knows
function Kept:find(id, done)
  self.engine:get(keyOf(id), function(text, problem)
    done(text and decode(text) or nil, problem)
  end)
end

--- Takes something over that was kept under a lease that is over.
-- @tparam string id
-- @tparam string token of that lease
-- @tparam function done called with the record, its bytes (nil: they are lost) and what `write` was
-- told about them; or with nil and why not: "none", "taken", or that nobody knows
function Kept:take(id, token, done)
  self.engine:get(keyOf(id), function(text, problem)
    local said = text and decode(text)
    if not said then return done(nil, problem or "none") end
    if said.token ~= token then return done(nil, "taken") end
    if not self.lease:isValid() then return done(nil, "away") end
    local record = new(self, id, said, text)
    record:retake(function(isDone, why)
      if not isDone then return done(nil, why or "taken") end
      readSurely(self, id, said, TRIES, function(bytes) done(record, bytes, said.about) end)
    end)
  end)
end

return Kept
