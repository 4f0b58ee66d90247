--- A request that is under way, and its answer: what waits for it, and its place in the line.
-- @module sync.fetch.transfer

local Class = require "sync.class"
local jobs = require "sync.jobs"
local library = require "sync.fetch.library"
local line = require "sync.fetch.line"
local task = require "sync.task"

local Transfer = Class:extend("Transfer")

--- Begins one; the caller has a place in the line for its host, which it has from here on.
-- @tparam string host
-- @tparam table fields see library.start
-- @treturn Transfer|nil nil: there was no memory
function Transfer.start(host, fields)
  local fetch = library.start(fields)
  if not fetch then
    line.leave(host)
    return nil
  end
  local self = Transfer:new {host = host, fetch = fetch, isStreamed = fields.flags %
    (2 * library.STREAMS) >= library.STREAMS}
  jobs.begin(fetch.id, self)
  return self
end

function Transfer:hasHead() return self.fetch.state ~= library.ASKS end

function Transfer:hasEnded() return self.fetch.state >= library.ENDED end

-- There is something new.
function Transfer:descriptorReady()
  if self.isLost then return self:close() end
  local resume = self.resume
  self.resume = nil
  if resume then resume() end
end

local function hold(resume, self) self.resume = resume end

local function leave(self)
  self.resume = nil
  self:close()
end

--- Waits until there is something new. Who is cancelled here ends the transfer.
function Transfer:wait()
  task.await(hold, leave, self)
end

--- What went wrong: of `enum sync_fetch_problem`, and libcurl's words.
function Transfer:problem() return self.fetch.problem, library.text(self.fetch) end

--- Takes what has come of the body.
function Transfer:take()
  local bytes = library.body(self.fetch)
  if bytes ~= "" then library.take(self.fetch) end
  return bytes
end

--- Ends it, whatever it is about. The place in the line is kept while libcurl looks up a name
-- that nobody wants any more, as that takes a thread.
function Transfer:close()
  local fetch = self.fetch
  if not fetch then return end
  local id = fetch.id
  self.isLost = library.finish(fetch)
  if self.isLost then return end
  self.fetch = nil
  jobs.forget(id)
  line.leave(self.host)
end

return Transfer
