-- Machine code that LuaJIT has made wrongly, and that is mended before it runs. Which code is wrong
-- is luck: so the wrong place is made here, of a call that LuaJIT has made.

local core = require "sync.core"
local ffi = require "ffi"
local mending = require "sync.mending"
local util = require "jit.util"

ffi.cdef [[
  void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset);
  int mprotect(void *at, size_t length, int protection);
  int munmap(void *at, size_t length);
]]

local READ, WRITE, EXECUTE, PRIVATE, NOBODYS = 1, 2, 4, 2, 0x20
local SIZE = 4096

local found

-- Where LuaJIT's function is that compiled code of `pairs` calls.
local function findNext()
  if found then return found end
  local t, sum = {a = 1, b = 2, c = 3}, 0
  local function onTrace(what, trace)
    if what ~= "stop" or found then return end
    local code, address = util.tracemc(trace)
    local at = code:find("\xe8....[\x44\x48\x49\x4c\x4d\x89\x8b]")
    if not at then return end
    found = address + at + 4 + ffi.cast("int32_t *", ffi.cast("const char *", code) + at)[0]
  end
  jit.off(onTrace)
  jit.attach(onTrace, "trace")
  for _ = 1, 200 do
    for _, value in pairs(t) do sum = sum + value end
  end
  jit.attach(onTrace)
  return found
end

describe("code that LuaJIT has made", function()
  local function isX64() return jit.arch == "x64" end

  -- Code near LuaJIT's, as LuaJIT places its own: calls, exchanges, returns the pointer.
  local function make(target, exchange)
    local near = ffi.cast("void *", ffi.cast("intptr_t", target) + 0x1000000LL)
    local code = ffi.cast("unsigned char *",
      ffi.C.mmap(near, SIZE, READ + WRITE, PRIVATE + NOBODYS, -1, 0))
    local distance = tonumber(ffi.cast("intptr_t", target) - ffi.cast("intptr_t", code) - 9)
    local bytes = ffi.new("int32_t[1]", distance)
    local text = "\x48\x83\xec\x18" .. "\xe8" .. ffi.string(bytes, 4) .. exchange ..
      "\x48\x89\xd0" .. "\x48\x83\xc4\x18" .. "\xc3"
    ffi.copy(code, text, #text)
    assert(ffi.C.mprotect(code, SIZE, READ + EXECUTE) == 0)
    return code, #text
  end

  local function addressOf(t) return ffi.cast("void *", tonumber(tostring(t):match "0x%x+")) end

  local function call(code, t)
    local fn = ffi.cast("uint64_t (*)(void *, uint32_t)", code)
    return fn(addressOf(t), 0)
  end
  jit.off(call)

  it("keeps all of a pointer that it exchanges with a number", function()
    if not isX64() then return pending "another processor" end
    local target = assert(findNext(), "pairs isn't compiled")
    local t = {key = 42.5}
    local code, length = make(target, "\x92")
    assert.is_true(call(code, t) < 2 ^ 32) -- as LuaJIT has it
    assert.equal(1, core.C.sync_mend(tonumber(ffi.cast("intptr_t", code)), length))
    local place = call(code, t)
    assert.is_true(place > 2 ^ 32)
    assert.equal(42.5, ffi.cast("double *", place)[0])
    assert.equal(0, core.C.sync_mend(tonumber(ffi.cast("intptr_t", code)), length)) -- it is right
    ffi.C.munmap(code, SIZE)
  end)

  it("is left as it is where it is right, or calls something else", function()
    if not isX64() then return pending "another processor" end
    local target = assert(findNext(), "pairs isn't compiled")
    for _, case in ipairs {{target, "\x48\x92"}, {target, "\x90"}, {target + 1, "\x92"}} do
      local code, length = make(case[1], case[2])
      local before = ffi.string(code, length)
      assert.equal(0, core.C.sync_mend(tonumber(ffi.cast("intptr_t", code)), length))
      assert.equal(before, ffi.string(code, length))
      ffi.C.munmap(code, SIZE)
    end
  end)

  it("is looked through, each trace", function()
    if not isX64() then return pending "another processor" end
    local code, length = make(assert(findNext(), "pairs isn't compiled"), "\x92")
    local before, real = mending.count, util.tracemc
    function util.tracemc() return (" "):rep(length), tonumber(ffi.cast("intptr_t", code)) end
    jit.off(util.tracemc)
    local sum = 0
    for i = 1, 200 do sum = sum + i end -- a trace of its own
    util.tracemc = real
    assert.equal(before + 1, mending.count)
    assert.is_true(call(code, {key = 1}) > 2 ^ 32)
    ffi.C.munmap(code, SIZE)
  end)
end)
