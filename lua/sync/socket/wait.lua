--- Waiting for a descriptor: a task waits until bytes can be read or written, and the loop goes on.
-- @classmod sync.socket.wait

local Class = require "sync.class"
local jobs = require "sync.jobs"
local loop = require "sync.loop"
local task = require "sync.task"

local READABLE, WRITABLE = 1, 2

local Wait = Class:extend("SocketWait")

Wait.READABLE, Wait.WRITABLE = READABLE, WRITABLE

--- Watches a descriptor, for nothing yet.
-- @treturn Wait|nil or nil and a message
function Wait.open(fd)
  local self = Wait:new {id = false, resume = false}
  local id, problem = jobs.watch(fd, 0, self)
  if not id then return nil, problem end
  self.id = id
  return self
end

-- The descriptor is ready.
function Wait:descriptorReady()
  jobs.interest(self.id, 0)
  local resume = self.resume
  self.resume = false
  if resume then resume(true) end
end

--- Whether a task waits for it.
function Wait:isBusy() return self.resume ~= false end

--- Begins to watch for a task that has several of these.
function Wait:begin(interest, resume)
  self.resume = resume
  jobs.interest(self.id, interest)
end

function Wait:stop()
  self.resume = false
  if self.id then jobs.interest(self.id, 0) end
end

--- Ends it; a task that waits goes on.
function Wait:close()
  if not self.id then return end
  jobs.unwatch(self.id)
  self.id = false
  local resume = self.resume
  self.resume = false
  if resume then resume(false) end
end

--- Waits for one of several descriptors.
-- @tparam table list of `{Wait, interest}`
-- @tparam number|nil seconds nil: any time
-- @treturn boolean whether one is ready, or was closed; false: the time is over
-- @raise what is raised in a task that is told to end
function Wait.forAny(list, seconds)
  local timer
  local ok, ready = pcall(task.await, function(resume)
    for _, each in ipairs(list) do each[1]:begin(each[2], function() resume(true) end) end
    if seconds then timer = loop.startTimer(seconds, 0, function() resume(false) end) end
  end)
  if timer then loop.stopTimer(timer) end
  for _, each in ipairs(list) do each[1]:stop() end
  if not ok then error(ready, 0) end
  return ready
end

return Wait
