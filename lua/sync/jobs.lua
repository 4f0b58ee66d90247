--- What other libraries do for the loop: jobs on threads, and descriptors that are watched, each
-- for an object that is told. See src/jobs.
-- @module sync.jobs

local core = require "sync.core"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local jobs = {}

-- Who waits, by the ids of jobs, and of watches.
local waiting, watching = {}, {}

loop.on(C.SYNC_JOB, function(event)
  local who = waiting[event.id]
  if not who then return end
  waiting[event.id] = nil
  who:jobEnded(event.value, event.data, event.length)
end)

loop.on(C.SYNC_WATCH, function(event)
  local who = watching[event.id] -- nil when it was stopped in this tick
  if who then who:descriptorReady(event.value) end
end)

--- Has an object told when a job has ended.
-- @tparam number id what the call that began it has returned
-- @tparam table who its `jobEnded` is called with the job's value (without a sign, see
-- `bit.tobit`), and with its bytes: a pointer that lives until the tick ends, and their count
-- @treturn number|nil the id, or nil and what was wrong with the job
function jobs.begin(id, who)
  if id < 0 then
    local name, text = core.problem(id)
    if name == "EAGAIN" then return nil, "busy: too many wait already" end
    return nil, text
  end
  waiting[id] = who
  return id
end

--- Gives a job up: its object isn't told.
function jobs.cancel(id)
  waiting[id] = nil
  C.sync_job_cancel(handle, id)
end

--- Forgets a job whose threads were closed.
function jobs.forget(id)
  waiting[id] = nil
end

--- Watches a descriptor of another library.
-- @tparam number fd
-- @tparam number interest of `enum sync_watched`
-- @tparam table who its `descriptorReady` is called with what it is ready for, each tick as long
-- as it is
-- @treturn number|nil its id, or nil and a message
function jobs.watch(fd, interest, who)
  local id = C.sync_watch_start(handle, fd, interest)
  if id < 0 then return nil, select(2, core.problem(id)) end
  watching[id] = who
  return id
end

--- Watches for something else; 0 for nothing.
function jobs.interest(id, interest)
  return C.sync_watch_change(handle, id, interest)
end

--- Stops watching; call it before the descriptor is closed.
function jobs.unwatch(id)
  watching[id] = nil
  C.sync_watch_stop(handle, id)
end

return jobs
