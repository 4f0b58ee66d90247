--- What src/work does, with Lua's strings. Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.work.library

local bit = require "bit"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"

ffi.cdef(require "sync.work.cdef")

local C, handle, toString = core.C, core.handle, core.string

local MESSAGE = 256

local library = {
  DONE = tonumber(C.SYNC_WORK_DONE),
  FAILED = tonumber(C.SYNC_WORK_FAILED),
  LATE = tonumber(C.SYNC_WORK_LATE),
  LARGE = tonumber(C.SYNC_WORK_LARGE),
}

local message = ffi.new("char[?]", MESSAGE)
local work

--- Begins with so many threads, once: see sync_work_open.
-- @treturn boolean|nil true, or nil and what lacks
function library.open(threads, queue, memory, code)
  if work then return true end
  if C.sync_work_load(message, MESSAGE) < 0 then return nil, toString(message) end
  local opened = C.sync_work_open(handle, threads, queue, memory, code, #code)
  if opened == nil then return nil, "memory ran out, or its signal is another's" end
  work = opened
  return true
end

local Job = {}
Job.__index = Job

function Job:jobEnded(value, data, length)
  self.done(bit.tobit(value), length > 0 and toString(data, length) or "")
end

--- Begins a job whose `done` gets its value and its bytes: see sync_work_do.
-- @treturn number|nil its id, or nil and a message
function library.begin(number, code, arguments, seconds, most, done)
  return jobs.begin(C.sync_work_do(work, number, code, #code, arguments, #arguments,
    math.ceil(seconds * 1000), most), setmetatable({done = done}, Job))
end

library.cancel = jobs.cancel

return library
