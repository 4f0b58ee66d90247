--- Functions on threads: `sync.work(fn, …)`, for what computes for long.
--
--     local function primes(most) … end                       -- no upvalues
--     sync.spawn(function()
--       local list = sync.work(primes, 1000000)               -- the loop goes on
--     end)
--
-- The function runs in a Lua state of its thread: it sees its arguments, and nothing of this one.
-- Arguments and results are plain values, and are copied.
--
-- **Bounds.** `sync.work.threads` (one less than the cores, 1 to 4), at a lower priority than the
-- loop; `sync.work.queue` (64) wait, one more fails with "busy"; `sync.work.timeout` (5 s) from the
-- call on, then it is ended, whatever it does; `sync.work.memory` (64 MiB) of each state;
-- `sync.work.maxResult` (1 MiB). Set them before the first use.
-- @module sync.work

local core = require "sync.core"
local failures = require "sync.service.failure"
local library = require "sync.work.library"
local task = require "sync.task"

local failure = failures.of "sync.work"

local work = {
  threads = math.max(1, math.min(4, core.C.sync_core_count() - 1)),
  queue = 64,
  timeout = 5,
  memory = 64 * 1024 * 1024,
  maxResult = 1024 * 1024,
}

local MOST_TIME = 24 * 3600

local function settings()
  local bounds = {threads = 64, queue = 2 ^ 20, timeout = MOST_TIME, memory = 2 ^ 40,
    maxResult = 2 ^ 30}
  for name, most in pairs(bounds) do
    local value = work[name]
    if type(value) ~= "number" or value ~= value or value <= 0 or value > most or
      name ~= "timeout" and value % 1 ~= 0 then
      error(("sync.work.%s must be a number above 0, and at most %g"):format(name, most), 4)
    end
  end
end

local buffer

local function open()
  if buffer then return end
  local ok, found = pcall(require, "string.buffer")
  if not ok then
    error("sync.work needs LuaJIT's string.buffer, which is there since 2021", 3)
  end
  settings()
  local opened, problem = library.open(work.threads, work.queue, work.memory,
    string.dump(require "sync.work.thread"))
  if not opened then error(failure("missing", problem), 0) end
  buffer = found
end

-- Functions as threads get them: {number, bytecode}. What nobody has any more goes.
local dumped = setmetatable({}, {__mode = "k"})
local count = 0

local function dump(fn)
  local found = dumped[fn]
  if found then return found end
  local info = debug.getinfo(fn, "Su")
  if info.what == "C" then
    error("sync.work(fn, …): fn is a function of C, which a thread can't be given", 3)
  end
  for i = 1, info.nups do
    error(("sync.work(fn, …): fn, %s:%d, uses %s of outside itself (an upvalue), which a thread " ..
      "hasn't: make it an argument, or write it inside"):format(info.short_src, info.linedefined,
        debug.getupvalue(fn, i)), 3)
  end
  count = count + 1
  found = {number = count, code = string.dump(fn)}
  dumped[fn] = found
  return found
end

-- What an argument is made of that threads can't be given; nil: nothing.
local function oddOf(value, depth)
  local kind = type(value)
  if kind == "table" then
    if depth > 64 then return "a table that is nested deeper than 64, or in itself" end
    if getmetatable(value) ~= nil then return "a table with a metatable" end
    for key, each in pairs(value) do
      local odd = oddOf(key, depth + 1) or oddOf(each, depth + 1)
      if odd then return odd end
    end
  elseif kind == "cdata" then
    if not (tostring(value):find "^%-?%d+U?LL$") then return "cdata" end
  elseif kind ~= "nil" and kind ~= "boolean" and kind ~= "number" and kind ~= "string" then
    return "a " .. kind
  end
end

local function encode(...)
  local given = {select("#", ...), ...}
  for i = 1, given[1] do
    local odd = oddOf(given[i + 1], 1)
    if odd then
      error(("sync.work(fn, …): argument %d is, or has in it, %s, which a thread can't be given")
        :format(i, odd), 3)
    end
  end
  return buffer.encode(given)
end

-- Waits for the job. Who is cancelled here ends it.
local function await(found, arguments)
  local id, problem
  local ok, value, bytes = pcall(task.await, function(resume)
    id, problem = library.begin(found.number, found.code, arguments, work.timeout, work.maxResult,
      resume)
    if not id then resume(nil, problem) end
  end)
  if not ok then
    if id then library.cancel(id) end
    error(value, 0)
  end
  return value, bytes
end

local function failed(text, trace)
  local code = text == "not enough memory" and "memory" or "error"
  local made = failure(code, text)
  made.traceback = trace
  error(made, 0)
end

--- Calls a function on a thread, and waits for what it returns.
--
-- There it has `assert`, `error`, `getmetatable`, `ipairs`, `next`, `pairs`, `pcall`, `raw…`,
-- `select`, `setmetatable`, `tonumber`, `tostring`, `type`, `unpack`, `xpcall`, and the libraries
-- `bit`, `coroutine`, `math`, `string`, `table`; nothing of the system, and no `require`.
-- @function sync.work
-- @tparam function fn without upvalues; it is handed over once a thread
-- @param ... nil, booleans, numbers, strings, 64-bit integers, and tables of those
-- @return what it returns, of the same kinds
-- @raise a table with `code` and `message`: "error", with its `traceback`, when the function raised
-- one; "timeout", "busy", "too large", "memory", "missing". Also outside a function that may wait
local function call(_, fn, ...)
  if type(fn) ~= "function" then
    error("sync.work(fn, …): fn must be a function, not " .. type(fn), 2)
  end
  open()
  local found, arguments = dump(fn), encode(...)
  if not task.isInside() then
    error("sync.work waits, so it must be called inside sync.spawn(function() … end)", 2)
  end
  local value, bytes = await(found, arguments)
  if value == nil then
    error(failure("busy", "too many wait already (sync.work.queue)"), 0)
  elseif value == library.LATE then
    error(failure("timeout", ("it had not ended after %g s, and was ended (sync.work.timeout)")
      :format(work.timeout)), 0)
  elseif value == library.LARGE then
    error(failure("too large", "the result has more bytes than sync.work.maxResult"), 0)
  elseif value == library.FAILED then
    failed(bytes, "")
  elseif value ~= library.DONE then
    error(failure("memory", "no Lua state could be made: memory ran out, or 256 calls " ..
      "were left in the middle of a pattern since the program began"), 0)
  end
  local result = buffer.decode(bytes)
  if not result[1] then failed(result[2], result[3]) end
  return unpack(result, 3, 2 + result[2])
end

return setmetatable(work, {__call = call})
