--- What a task has asked of Redis: a text of one or more commands, and their answers.
--
-- A call ends once: with all its answers, or with a failure. Its place in the row of a connection
-- stays, though, until Redis has answered.
-- @module sync.redis.call

local limits = require "sync.limits"
local task = require "sync.task"

local Call = {}
Call.__index = Call

--- @tparam string text
-- @tparam number count of commands in it
-- @tparam number|nil seconds that the answers may take; nil: any time
-- @tparam function expired called with the call when they are over
function Call.new(text, count, seconds, expired)
  return setmetatable({text = text, count = count, seconds = seconds, expired = expired,
    got = 0,        -- answers
    answers = {},   -- failures among them
    isSent = false,
    isOver = false, -- nobody waits any more
    sentAt = 0}, Call)
end

--- Ends the waiting.
-- @param failure what is raised; nil: all answers are there
function Call:finish(failure)
  if self.isOver then return end
  self.isOver = true
  if self.seconds then limits.stop(self) end
  local resume = self.resume
  self.resume, self.failure = nil, failure
  if resume then resume() end
end

function Call:expire()
  if not self.isOver then self:expired() end
end

--- An answer has come.
function Call:answer(value)
  local got = self.got + 1
  self.got, self.answers[got] = got, value
  if got == self.count then self:finish() end
end

--- Whether somebody still wants the answers.
function Call:isWanted()
  return not self.isOver and (not self.task or self.task:isAlive())
end

local beginning -- the call whose `start` is on its way to the task: saves a closure each

local function hold(resume)
  beginning.resume = resume
end

--- Waits for the answers.
-- @raise the failure, or what is raised in a task that is told to end
function Call:wait()
  if not self.isOver then
    self.task = task.current()
    if self.seconds then limits.start(self, self.seconds) end
    beginning = self
    local ok, problem = pcall(task.await, hold)
    if not ok then
      self.resume = nil
      self:finish("given up")
      error(problem, 0)
    end
  end
  if self.failure then error(self.failure, 0) end
end

return Call
