-- A slice of what `make state-model` does.

local model = require "spec.state.model"
local sockets = require "spec.state.sockets"
local support = require "spec.support"

local function live(run, lives, steps)
  local patches = 0
  support.logged(function()
    for seed = 1, lives do patches = patches + run(seed, steps).patches end
  end)
  return patches
end

describe("a state", function()
  it("is what a model of it says, for every member, in 200 random lives", function()
    assert.is_true(live(model.run, 200, 100) > 1000)
  end)

  it("is that over sockets, too, in 8 lives", function()
    sockets.listen()
    local patches = live(sockets.run, 8, 60)
    sockets.stop()
    assert.is_true(patches > 100)
  end)
end)
