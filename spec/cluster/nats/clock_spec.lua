-- What a node with a wrong wall clock and the others have in NATS.

local Nats = require "spec.support.nats"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local ffi = require "ffi"
local nats = require "sync.cluster.nats"
local support = require "spec.support"

local wait = support.wait

-- As spec/chaos/clock.c has it: which of two settings, and the first one.
local Clock = ffi.typeof [[struct {
  uint64_t which; int64_t wall, before[2]; double before_rate; int64_t now[2]; double rate;
}]]

-- Reads what is to live for ten minutes, and writes what is to live for a moment.
local NODE = [[
  local sync = require "sync"
  sync.after(60, sync.stop)
  local engine
  engine = assert(require "sync.cluster.nats".open((...), {onUp = function()
    engine:get("long", function(value)
      engine:set("short", "y", 0.3, function(done)
        print(tostring(value) .. " at " .. os.time(), done)
        sync.stop()
      end)
    end)
  end}))
  sync.start()
]]

describe("NATS and a node whose wall clock is wrong", function()
  local engine

  after_each(function()
    engine:close()
    Process.cleanUp()
    Nats.cleanUp()
  end)

  local function ask(name, ...)
    local answer = {}
    local arguments = {...}
    arguments[#arguments + 1] = function(...) answer = {n = select("#", ...), ...} end
    engine[name](engine, unpack(arguments))
    wait(function() return answer.n end)
    return answer[1]
  end

  for _, hours in ipairs {-3, 3} do
    it(("by %d hours: values live as long as they are to"):format(hours), function()
      assert(os.execute "make -s build/chaos-clock.so" == 0)
      local url = Nats.start().url
      engine = assert(nats.open(url))
      wait(function() return engine:isUp() end)
      ask("set", "long", "x", 600)
      local clock = Clock {wall = hours * 3600LL * 1000000000LL, before_rate = 1, rate = 1}
      local node = Program.startBehind("build/chaos-clock.so", {
        LUA_CPATH = "build/?.so;;",
        SYNC_CHAOS_CLOCK = Process.file(ffi.string(clock, ffi.sizeof(clock))),
      }, Process.file(NODE), url)
      local value, time = node:expect("stdout", "(%w+) at (%d+)\ttrue")
      assert.equal("x", value)
      assert.is_true(math.abs(time - os.time() - hours * 3600) < 600)
      wait(function() return ask("get", "short") == nil end)
      assert.equal("x", (ask("get", "long")))
    end)
  end
end)
