-- What is lost between nodes is counted, whatever breaks: see also spec/cluster/flap.lua.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local flap = require "spec.cluster.flap"

local WAITING = Process.BOUND

describe("a node that was away longer than beats tell of what was sent", function()
  -- What it's told is read off the engine, as another node would.
  it("is told again when it is back, also of rooms that were forgotten meanwhile", function()
    local status, _, trouble = Program.runCode([[
      local engine = require "spec.support.fakeengine"
      local buffer, frame = require "string.buffer", require "sync.cluster.frame"
      local sync, testing = require "sync", require "sync.testing"
      local cluster = sync.cluster
      cluster:link(engine)
      local Game = sync.Protocol:extend("Game")
      cluster:addClass(Game)

      local sent, beat = {}, nil
      function engine.onPublish(topic, bytes)
        local type, _, _, stream, number = frame.read(bytes)
        if topic == "r/Game/red" then sent[#sent + 1] = {stream, number} end
        if type == frame.BEAT then beat = frame.decode(bytes, frame.HEAD).claims end
      end
      -- What the next beat tells of the room.
      local function told()
        beat = nil
        local stop = os.time() + ]] .. WAITING .. [[

        while not beat and os.time() < stop do testing.settle() end
        for i = 1, #assert(beat), 3 do
          if beat[i] == "r/Game/red" then return beat[i + 2] end
        end
      end
      local function say()
        Game:room("red"):send("text")
        for _ = 1, 3 do collectgarbage() end
      end

      say()
      say()
      assert(sent[1][1] == sent[2][1] and sent[2][2] == 2, "its numbers begin anew")
      assert(told() == 2)
      while told() do end -- so it ends
      for _ = 1, 3 do collectgarbage() end
      engine.handlers.onMessage("a", frame.write(frame.BACK, 1, 1, 1, 1, buffer.encode {}))
      assert(told() == 2, "a node that is back is not told")
      while told() do end
      engine.handlers.onUp() -- this one was away
      assert(told() == 2, "a node that is back does not tell")
      say()
      assert(sent[3][1] == sent[2][1] and sent[3][2] == 3)
      os.exit(0, false)
    ]])
    assert.equal(0, status, trouble)
  end)
end)

describe("what is lost while Redis comes and goes", function()
  for _, way in ipairs {"killed", "unplugged"} do
    it(("is counted by who has missed it: %s"):format(way), function()
      local sent, got, lost = flap(4, way)
      assert.is_true(sent > 100)
      assert.equal(sent, got + lost)
    end)
  end
end)
