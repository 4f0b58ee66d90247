-- A slice of what `make state-model` does.

local model = require "spec.state.model"
local support = require "spec.support"

describe("a state", function()
  it("is what a model of it says, for every member, in 200 random lives", function()
    local patches = 0
    support.logged(function()
      for seed = 1, 200 do patches = patches + model.run(seed, 100).patches end
    end)
    assert.is_true(patches > 1000)
  end)
end)
