-- What the program has in the place of functions of LuaJIT's: src/host/.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local ffi = require "ffi"
local util = require "jit.util"

ffi.cdef [[
  void *mmap(void *at, size_t length, int protection, int flags, int fd, long offset);
  int mprotect(void *at, size_t length, int protection);
  int munmap(void *at, size_t length);
]]

local READ, WRITE, EXECUTE, PRIVATE, NOBODYS = 1, 2, 4, 2, 0x20
local SIZE = 4096

local found

-- Where the function is that compiled code of `pairs` calls.
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

describe("compiled code", function()
  local function isX64() return jit.arch == "x64" end

  -- Code near LuaJIT's, as LuaJIT places its own: calls, exchanges, returns the pointer.
  local function make(target, exchange)
    local near = ffi.cast("void *", ffi.cast("intptr_t", target) - 0x8000000LL)
    local code = ffi.cast("unsigned char *",
      ffi.C.mmap(near, SIZE, READ + WRITE, PRIVATE + NOBODYS, -1, 0))
    local distance = tonumber(ffi.cast("intptr_t", target) - ffi.cast("intptr_t", code) - 9)
    assert(math.abs(distance) < 2 ^ 31, "the system has given memory elsewhere")
    local bytes = ffi.new("int32_t[1]", distance)
    local text = "\x48\x83\xec\x18" .. "\xe8" .. ffi.string(bytes, 4) .. exchange ..
      "\x48\x89\xd0" .. "\x48\x83\xc4\x18" .. "\xc3"
    ffi.copy(code, text, #text)
    assert(ffi.C.mprotect(code, SIZE, READ + EXECUTE) == 0)
    return code
  end

  local function addressOf(t) return ffi.cast("void *", tonumber(tostring(t):match "0x%x+")) end

  local function call(code, t)
    local fn = ffi.cast("uint64_t (*)(void *, uint32_t)", code)
    return fn(addressOf(t), 0)
  end
  jit.off(call)

  -- Which code LuaJIT makes wrongly is luck: so it is made here, of the call that LuaJIT makes.
  it("keeps all of a pointer that it exchanges with a number", function()
    if not isX64() then return pending "another processor" end
    local target = assert(findNext(), "pairs isn't compiled")
    local t = {key = 42.5}
    local code = make(target, "\x92")
    local place = call(code, t)
    assert.is_true(place > 2 ^ 32)
    assert.equal(42.5, ffi.cast("double *", place)[0])
    ffi.C.munmap(code, SIZE)
  end)

  it("is left as it is where it exchanges all, or nothing", function()
    if not isX64() then return pending "another processor" end
    local target = assert(findNext(), "pairs isn't compiled")
    for exchange, isWhole in pairs {["\x48\x92"] = true, ["\x90"] = false} do
      local code = make(target, exchange)
      assert.equal(isWhole, call(code, {key = 1}) > 2 ^ 32)
      ffi.C.munmap(code, SIZE)
    end
  end)
end)

-- Loops get hot where a recursion has left less and less room on the stack; what was compiled goes;
-- and the compiler is looked at again.
local EDGE = [[
  local function dive(n, action)
    if n == 0 then return action() end
    return 1 + dive(n - 1, action)
  end
  jit.off(dive)
  local low, high = 1, 100000
  while high - low > 1 do
    local middle = math.floor((low + high) / 2)
    if pcall(dive, middle, function() return 0 end) then low = middle else high = middle end
  end
  for slots = 0, 8 do
    for above = 0, 60 do
      local action = assert(loadstring(("local v = 1 "):rep(slots) .. [=[
        local sum = 0
        for i = 1, 200 do sum = sum + i end
        for i = 1, 200 do sum = tonumber(sum .. "") % 9 end
        return sum]=]))
      pcall(dive, low - above, action)
    end
  end
  collectgarbage()
  collectgarbage()
  debug.sethook(function() end, "", 1)
  for i = 1, 1000 do low = low + i end
  debug.sethook()
  print(low > 0 and "went on", require "sync.traces".isLost() and "lost" or "kept")
]]

describe("a recursion without an end", function()
  after_each(Process.cleanUp)

  for name, listener in pairs {
    ["nobody"] = "",
    ["a listener of the script's"] =
      "local function listen(...) return ... end jit.off(listen) jit.attach(listen, 'trace') ",
    ["the report"] = "require 'sync.jit'.watch() ",
  } do
    it("ends as an error where " .. name .. " follows the compiler", function()
      local status, out, err = Program.runCode(listener .. EDGE)
      assert.equal(0, status, err)
      assert.matches("^went on\t" .. (listener == "" and "kept" or "lost"), out)
    end)
  end

  it("ends the report, which says so", function()
    local status, out, err = Program.runCode("sync = require 'sync' sync.jit.watch() " .. EDGE ..
      " print(sync.jit.report())")
    assert.equal(0, status, err)
    assert.matches("until a recursion without an end left no room on the stack", out, 1, true)
  end)
end)

-- LuaJIT reads declarations by a call as the compiler's.
it("an error of a declaration of ffi's leaves who follows the compiler", function()
  local status, out, err = Program.runCode([[
    local ffi = require "ffi"
    require "sync.jit".watch()
    local count = 0
    local function listen()
      count = count + 1
      pcall(ffi.typeof, "no_such_type")
    end
    jit.off(listen)
    jit.attach(listen, "trace")
    for _ = 1, 3 do
      pcall(ffi.cdef, "no declaration")
      assert(loadstring "for i = 1, 200 do local _ = i end")()
    end
    print(count >= 6, require "sync.traces".isLost())
  ]])
  assert.equal(0, status, err)
  assert.equal("true\tfalse\n", out)
end)

-- A loop is given up the more rarely the more often it was, and then for good.
it("a listener's error ends no loop, whichever time it is given up", function()
  local status, out = Program.runCode([[
    require "sync"
    local code = "local n = 0 for i = 1, 3e5 do n = n + 1 (...)() end return n"
    for fails = 1, 16 do
      local seen = 0
      local function listen(what)
        seen = seen + (what == "abort" and 1 or 0)
        if seen == fails then error "on purpose" end
      end
      jit.off(listen)
      jit.attach(listen, "trace")
      assert(assert(loadstring(code))(coroutine.running) == 3e5)
      jit.attach(listen)
    end
    print "went on"
  ]])
  assert.equal(0, status)
  assert.equal("went on\n", out)
end)
