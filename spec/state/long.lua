--- Random lives of states for as long as wanted: `make state-model STEPS=1000000 ROOMS=1000`, or
-- from a seed that has failed on, `./sync-lua spec/state/long.lua 100 0 SEED`.

local log = require "sync.log"
local model = require "spec.state.model"
local sockets = require "spec.state.sockets"

local STEPS, STEPS_OVER_SOCKETS = 100, 60 -- of each life

local steps, rooms, first = tonumber(arg[1]) or 0, tonumber(arg[2]) or 0, tonumber(arg[3]) or 1

log.write = function() end -- of what is out of range

local function live(what, run, lives, each)
  local patches, elsewhere, skipped = 0, 0, 0
  for seed = first, first + lives - 1 do
    local life = run(seed, each)
    patches, elsewhere = patches + life.patches, elsewhere + life.elsewhere
    skipped = skipped + (life.skipped or 0)
  end
  print(("%s: %d steps in %d lives: %d patches, all as they should be; %s"):format(what,
    lives * each, lives, patches, what == "in process" and elsewhere .. " of them of replicas" or
    skipped .. " left out, for members that were behind"))
end

if steps > 0 then live("in process", model.run, math.ceil(steps / STEPS), STEPS) end
if rooms > 0 then
  sockets.listen()
  live("over sockets", sockets.run, rooms, STEPS_OVER_SOCKETS)
  sockets.stop()
end
os.exit(0) -- what waits to be resumed would keep it waiting
