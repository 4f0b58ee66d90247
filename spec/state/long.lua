--- Random lives of states for as long as wanted: `make state-model STEPS=1000000`, or from a
-- seed that has failed, `./sync-lua spec/state/long.lua 100 SEED`.

local log = require "sync.log"
local model = require "spec.state.model"

local STEPS = 100 -- of each life

local wanted, first = tonumber(arg[1]) or 100000, tonumber(arg[2]) or 1

log.write = function() end -- of what is out of range
local lives, patches, bytes = math.ceil(wanted / STEPS), 0, 0
for seed = first, first + lives - 1 do
  local run = model.run(seed, STEPS)
  patches, bytes = patches + run.patches, bytes + run.bytes
end
print(("%d steps in %d lives: %d patches of %d bytes, all as they should be"):format(
  lives * STEPS, lives, patches, bytes))
