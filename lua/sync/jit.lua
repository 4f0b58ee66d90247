--- LuaJIT's compiler, tuned for servers, and a report of what it made of the handlers.
--
--     sync.jit.watch()          -- before sync.start
--     print(sync.jit.report())  -- any time later
--
-- `sync-lua --jit-report script.lua` does both, and prints the report at the end.
-- @module sync.jit

local luajit = require "jit"
local opt = require "jit.opt"
local util = require "jit.util"
local sampler = require "sync.sampler"
local traces = require "sync.traces"

local compiler = {}

-- LuaJIT of March 2022, which Debian 12 has, may crash in a trace that it has stitched within a
-- loop over pairs: `for name in pairs(t) do name:find("^x") end`. So nothing is stitched: what
-- calls such a function of C is interpreted.
opt.start("minstitch=1000000")

--- Lets traces be stitched, for a LuaJIT without that error.
function compiler.stitch()
  opt.start("minstitch=0")
end

-- LuaJIT's own limits suit short programs. A server runs for months, has many handlers
-- with many branches, and would rather compile once more than throw its code away.
local SERVER = {
  "maxtrace=8000", "maxrecord=16000", "maxirconst=4000", "maxside=1000", "maxsnap=2000",
  "sizemcode=256", "maxmcode=32768",
}

--- Compiles hot handlers to native code, as is done from the start.
function compiler.full()
  opt.start(unpack(SERVER))
  luajit.on()
end

--- Interprets everything, and forgets code that was compiled.
function compiler.off()
  luajit.off()
  luajit.flush()
end

--- Whether hot handlers are compiled.
-- @treturn boolean
function compiler.isOn()
  return (luajit.status())
end

local SAMPLE_MS = 5

-- What was seen while watching. All are bounded by the size of the program's source.
local watched
local compiled = {}   -- by function: true when a call of it is part of a finished trace
local reached = {}    -- by function: true when some of it is part of a finished trace
local looped = {}     -- by function: true when a loop in it is a finished trace
local covered = {}    -- by "function:bytecode": true when it is part of a finished trace
local aborts = {}     -- by function: by "line reason": {where, reason, count, site}
local stitched = {}   -- by function: true when a trace leaves it for a call that isn't compiled
local recording = {}  -- by trace: what is being recorded, see newRecording
local samples = {}    -- by function: {native =, interpreted =, other =}
local names = {}      -- by function: its name and where it stands
local order = {}

local function key(fn)
  local info = util.funcinfo(fn)
  return info.source and ("%s:%d"):format(info.source, info.linedefined)
end

--- Gives a function a place in the report.
-- @tparam string name
-- @tparam function fn
function compiler.name(name, fn)
  local id = key(fn)
  if not id or names[id] then return end
  local info = util.funcinfo(fn)
  names[id] = {
    name = name,
    file = info.source:gsub("^[@=]", ""),
    first = info.linedefined,
    last = info.lastlinedefined or info.linedefined,
  }
  order[#order + 1] = id
end

--- Forgets which functions have places in the report.
-- @tparam[opt] table before what this has returned: they have their places again
-- @treturn table
function compiler.forget(before)
  local was = {names = names, order = order}
  names, order = before and before.names or {}, before and before.order or {}
  return was
end

local function siteOf(fn, pc)
  local id = key(fn)
  return id and id .. ":" .. pc
end

-- What a function is called, in C too.
local function nameOf(fn)
  local info = util.funcinfo(fn)
  local builtin = info.ffid and require "jit.vmdef".ffnames[info.ffid]
  return info.loc or builtin and builtin:gsub("_aux$", "") or -- an iterator by who makes it
    info.addr and ("C function %x"):format(info.addr) or "a function"
end

local function notCompiled(fn)
  return "NYI: FastFunc " .. nameOf(fn)
end

local function reasonOf(code, detail)
  if type(code) ~= "number" then return tostring(code) end
  if type(detail) == "function" then
    detail = nameOf(detail)
  elseif type(detail) == "number" and require "jit.vmdef".traceerr[code]:find("bytecode") then
    detail = require "jit.vmdef".bcnames:sub(detail * 6 + 1, detail * 6 + 6):gsub("%s", "")
    return "bytecode " .. detail .. " is not compiled"
  end
  return (require "jit.vmdef".traceerr[code]:format(detail))
end

-- What is being recorded: its functions, with whether they were entered at their begin; where
-- the last bytecode was; and the C function called last.
local function newRecording(fn, pc, parent)
  return {functions = {}, sites = {}, isLoop = not parent and pc > 1, first = key(fn)}
end

local function whereIs(fn, pc)
  local info = util.funcinfo(fn, pc)
  return ("%s:%d"):format((info.source or "?"):gsub("^[@=]", ""), info.currentline or 0)
end

-- Notes why the code of some functions ends somewhere.
local function blame(functions, where, reason, site)
  for id in pairs(functions) do
    local list = aborts[id] or {}
    aborts[id] = list
    local entry = list[where .. reason] or {where = where, reason = reason, count = 0, site = site}
    list[where .. reason] = entry
    entry.count = entry.count + 1
  end
end

-- A trace ends before the call of a C function that has no place in one; another begins behind.
local function onStitch(record)
  for id in pairs(record.functions) do stitched[id] = true end
  blame(record.functions, whereIs(record.fn, record.pc),
    notCompiled(record.called or record.fn))
end

local function onFinish(trace, record)
  for id, entered in pairs(record.functions) do
    reached[id] = true
    compiled[id] = compiled[id] or entered
  end
  for site in pairs(record.sites) do covered[site] = true end
  local link = util.traceinfo(trace).linktype
  if link == "loop" and record.isLoop and record.first then looped[record.first] = true end
  if link == "stitch" and record.fn then onStitch(record) end
end

local function onTrace(what, trace, fn, pc, code, detail)
  if what == "start" then
    recording[trace] = newRecording(fn, pc, code)
    return
  elseif what == "flush" then
    recording, compiled, reached, looped, covered, stitched = {}, {}, {}, {}, {}, {}
    return
  end
  local record = recording[trace]
  recording[trace] = nil
  if not record then return end
  if what == "stop" then
    onFinish(trace, record)
  elseif what == "abort" then
    local reason = reasonOf(code, detail)
    -- What it says where stitching is off: the trace was about to call what isn't compiled.
    if reason == "trace too short" and record.called then reason = notCompiled(record.called) end
    blame(record.functions, whereIs(fn, pc), reason, siteOf(fn, pc))
  end
end

local function onRecord(trace, fn, pc)
  local record = recording[trace]
  if not record then return end
  local id = key(fn)
  if not id then
    record.called = fn -- a C function
    return
  end
  record.functions[id] = record.functions[id] or pc <= 1
  record.sites[siteOf(fn, pc)] = true
  record.fn, record.pc, record.called = fn, pc, nil
end

-- The innermost named function on a stack of "file:line" frames.
local function owner(stack)
  for file, line in stack:gmatch("([^\n]+):(%d+)\n") do
    line = tonumber(line)
    for _, id in ipairs(order) do
      local named = names[id]
      if line >= named.first and line <= named.last and named.file == file then return id end
    end
  end
end

local STATES = {N = "native", I = "interpreted"}

local function onSample(thread, count, state)
  local id = owner(sampler.stack(thread, 12)) or "elsewhere"
  local seen = samples[id] or {native = 0, interpreted = 0, other = 0}
  samples[id] = seen
  local kind = STATES[state] or "other"
  seen[kind] = seen[kind] + count
end

--- Begins to collect what `report` tells. Costs little; recording traces takes longer.
function compiler.watch()
  if watched then return end
  watched = true
  traces.listen(onTrace)
  luajit.attach(onRecord, "record")
  sampler.sample(SAMPLE_MS, onSample)
end

--- Whether it is collected.
function compiler.isWatched() return watched == true end

-- What to do about the reasons met most.
local ADVICE = {
  {"^bytecode FNEW", "it makes a function; make that once, outside"},
  {"^bytecode TSETM", "it puts a call's results or ... into a table; name them"},
  {"^bytecode VARG", "it uses ... in a way that is not compiled; name the arguments"},
  {"^bytecode UCLO", "it closes over a loop's variable; move that function out"},
  {"^bytecode ITERN", "it uses pairs or next; keep a list, and use ipairs or a counter"},
  {"inner loop in root trace", "harmless: the loop inside is compiled by itself"},
  {"leaving loop in root trace", "harmless: the loop ran too few times to be worth it"},
  {"NYI: FastFunc string.gmatch", "it calls string.gmatch, which is not compiled; find and sub " ..
    "are, find with a plain text"},
  {"NYI: FastFunc string.format", "it calls string.format with more than strings and numbers, " ..
    "which is not compiled"},
  {"NYI: FastFunc (%S+)", "it calls %s, which is not compiled; look for another way"},
  {"NYI: C function", "it calls a C function; keep it off messages that come often"},
  {"error thrown or hook", "an error was raised meanwhile, or a debug hook is on"},
  {"blacklisted", "it calls what was given up on before; see that function"},
  {"unroll limit", "it recurses, or calls very deep; use a loop"},
  {"too many snapshots", "it has very many branches; split it"},
}

local function advice(reason)
  for _, pair in ipairs(ADVICE) do
    local capture = reason:match(pair[1])
    if capture then return (pair[2]:format(capture)) end
  end
end

-- The share of a function's own time that was spent in native code, if there were enough
-- samples to say. What C functions and the collector took is neither.
local function nativeShare(id)
  local seen = samples[id]
  local total = seen and seen.native + seen.interpreted or 0
  return total >= 20 and seen.native / total or nil
end

-- The processor's time that was spent in a function.
local function secondsOf(id)
  local seen = samples[id]
  return seen and (seen.native + seen.interpreted + seen.other) * SAMPLE_MS / 1000 or 0
end

-- Whether recording has ended in it where no other trace has come past since.
local function hasHoles(id)
  for _, abort in pairs(aborts[id] or {}) do
    if abort.site and not covered[abort.site] then return true end
  end
  return stitched[id] or false
end

local function state(id)
  local share = nativeShare(id)
  if not compiler.isOn() then return "interpreted: the compiler is off" end
  if not reached[id] then
    return aborts[id] and "interpreted" or "interpreted: it was not called often enough"
  end
  local whole = compiled[id] and not hasHoles(id) and (not share or share >= 0.8)
  local text = whole and "native code" or "native code in part"
  if not compiled[id] and looped[id] then text = "native code in a loop alone" end
  return share and ("%s (%d %% of its time)"):format(text, share * 100) or text
end

--- What became of the functions that were named: whether each runs as native code and for
-- what part of its time, and where compiling it failed, why, and what to do.
-- @treturn table a list of {name, where, state, native, seconds, aborts}; `native` is a share
-- from 0 to 1, or nil without enough samples; `seconds` were spent in it, as far as samples
-- tell; tostring gives a text for people
function compiler.report()
  local list, lines = {}, {"What LuaJIT made of the handlers:"}
  if not watched then lines[1] = "sync.jit.watch() was not called before sync.start()" end
  if traces.isLost() then
    lines[1] = "What LuaJIT made of the handlers, until a recursion without an end left no room " ..
      "on the stack for this report to be told more:"
  end
  for _, id in ipairs(order) do
    local named = names[id]
    local entry = {
      name = named.name, where = ("%s:%d"):format(named.file, named.first),
      state = state(id), native = nativeShare(id), seconds = secondsOf(id), aborts = {},
    }
    list[#list + 1] = entry
    lines[#lines + 1] = ("  %-28s %s  [%s]"):format(entry.name, entry.state, entry.where)
    for _, abort in pairs(aborts[id] or {}) do entry.aborts[#entry.aborts + 1] = abort end
    table.sort(entry.aborts, function(a, b) return a.where .. a.reason < b.where .. b.reason end)
    for _, abort in ipairs(entry.aborts) do
      local hint = advice(abort.reason)
      lines[#lines + 1] = ("    %s: %s, %d times%s")
        :format(abort.where, abort.reason, abort.count, hint and "; " .. hint or "")
    end
  end
  if watched and #order == 0 then lines[#lines + 1] = "  no class was enabled" end
  return setmetatable(list, {__tostring = function() return table.concat(lines, "\n") end})
end

compiler.full()

return compiler
