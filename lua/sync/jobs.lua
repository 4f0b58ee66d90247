--- What other libraries do for the loop, as functions that are called when it has ended: jobs
-- on threads, and descriptors that are watched. See src/jobs.
-- @module sync.jobs

local core = require "sync.core"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local jobs = {}

-- Functions by the ids of jobs and of watches: they share one count.
local waiting = {}

loop.on(C.SYNC_JOB, function(event)
  local done = waiting[event.id]
  waiting[event.id] = nil
  if done then done(tonumber(event.value), event.data, event.length) end
end)

loop.on(C.SYNC_WATCH, function(event)
  local ready = waiting[event.id] -- nil when it was stopped in this tick
  if ready then ready(event.value) end
end)

--- Has a function called when a job has ended.
-- @tparam number id what the call that began it has returned
-- @tparam function done called with the job's value, and with its bytes (a pointer that lives
-- until the tick ends, and their count)
-- @treturn number|nil the id, or nil and what was wrong with the job
function jobs.begin(id, done)
  if id < 0 then
    local name, text = core.problem(id)
    if name == "EAGAIN" then return nil, "busy: too many wait already" end
    return nil, text
  end
  waiting[id] = done
  return id
end

--- Gives a job up: its function isn't called.
function jobs.cancel(id)
  waiting[id] = nil
  C.sync_job_cancel(handle, id)
end

--- Watches a descriptor of another library.
-- @tparam number fd
-- @tparam number interest of `enum sync_watched`
-- @tparam function ready called with what it is ready for, each tick as long as it is
-- @treturn number|nil its id, or nil and a message
function jobs.watch(fd, interest, ready)
  local id = C.sync_watch_start(handle, fd, interest)
  if id < 0 then return nil, select(2, core.problem(id)) end
  waiting[id] = ready
  return id
end

--- Watches for something else; 0 for nothing.
function jobs.interest(id, interest)
  return C.sync_watch_change(handle, id, interest)
end

--- Stops watching; call it before the descriptor is closed.
function jobs.unwatch(id)
  waiting[id] = nil
  C.sync_watch_stop(handle, id)
end

return jobs
