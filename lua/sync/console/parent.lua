--- Commands of the console that the parent of workers has alone.
-- @module sync.console.parent

local common = require "sync.console.common"
local console = require "sync.console"
local workers = require "sync.cluster.workers"

console.addOther(function()
  console.refuse("this is the parent of workers, which serves nobody: say it to one of them; " ..
    "the command workers lists their processes")
end)

console.add("workers", "", "the workers and their processes", function(context)
  for _, worker in ipairs(workers.list()) do
    context.out("worker %d  %s", worker.number, worker.process and "process " .. worker.process or
      "is being started")
  end
end)

common.attach {reload = workers.reload, version = function()
  return ("version %d"):format(workers.version())
end}
