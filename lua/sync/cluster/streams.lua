--- What a node sends, numbered, so that others notice what was lost on the way.
--
-- There is a stream for each topic, and another for what nodes have to tell each other about
-- the topic, so that `lost` counts the application's messages alone: that one's key is the topic
-- with a + before it. Beats tell the numbers that streams have reached.
-- @classmod sync.cluster.streams

local CLAIM_BEATS = 3       -- how often a node tells what it has sent last, and again when one of
                            -- the two was away: it may have been so for longer
local MOST_CLAIMS = 2000    -- in one beat; others wait for the next
local MOST_RECENT = 20000   -- streams of which beats tell; further ones are left out
local MANY_RECENT = 10000   -- then those that were told are forgotten at once

local Streams = {
  --- Seconds in which a node that comes back goes on where it was.
  FORGET_SECONDS = 60,
}
Streams.__index = Streams

--- Makes a node's, of which there are none.
-- @tparam table clock
-- @tparam[opt=0] number last id that was a stream's: of a node that goes on in another process
function Streams.new(clock, last)
  return setmetatable({
    clock = clock,
    last = last or 0, -- stream's id
    recent = {},   -- streams that have sent in the last FORGET_SECONDS
    byTopic = {},  -- these, but for those of control frames
  }, Streams)
end

--- Makes a stream.
-- @tparam string topic
-- @tparam[opt] string key nil: the topic
function Streams:add(topic, key)
  self.last = self.last + 1
  return {topic = topic, key = key or topic, id = self.last, number = 0,
    control = false,  -- the other stream of the topic
    isRecent = false, -- whether it is in `recent`
    sentAt = 0,       -- about when it has sent last
    beats = 0}        -- that are yet to tell of it
end

--- The stream of a topic. A room may have been forgotten, and made anew, since it has sent: its
-- numbers go on.
function Streams:of(topic)
  return self.byTopic[topic] or self:add(topic)
end

--- The stream for what nodes tell each other about the topic of one.
function Streams:controlOf(stream)
  stream.control = stream.control or self:add(stream.topic, "+" .. stream.topic)
  return stream.control
end

--- Notes that a stream sends: the next beats tell of it.
function Streams:note(stream)
  if not stream.isRecent then
    if #self.recent >= MOST_RECENT then return end
    self.recent[#self.recent + 1], stream.isRecent = stream, true
    if stream.key == stream.topic then self.byTopic[stream.topic] = stream end
  end
  stream.beats = CLAIM_BEATS
end

--- What a beat tells of streams that have sent lately.
-- @treturn table key, id, number, …
function Streams:claims()
  local list, kept, time = {}, {}, self.clock.now()
  local isLong = #self.recent > MANY_RECENT
  for _, stream in ipairs(self.recent) do
    if stream.beats == CLAIM_BEATS then stream.sentAt = time end
    if stream.beats > 0 and #list < 3 * MOST_CLAIMS then
      list[#list + 1], list[#list + 2], list[#list + 3] = stream.key, stream.id, stream.number
      stream.beats = stream.beats - 1
    end
    stream.isRecent = stream.beats > 0 or
      not isLong and time - stream.sentAt <= Streams.FORGET_SECONDS
    if stream.isRecent then
      kept[#kept + 1] = stream
    elseif self.byTopic[stream.topic] == stream then
      self.byTopic[stream.topic] = nil
    end
  end
  self.recent = kept
  return list
end

--- Lets beats tell again what was sent in the last FORGET_SECONDS. This node was away, or
-- another.
function Streams:claimAgain()
  for _, stream in ipairs(self.recent) do stream.beats = CLAIM_BEATS end
end

return Streams
