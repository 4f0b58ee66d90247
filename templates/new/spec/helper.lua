-- Runs before the specs: busted gives each spec file modules of its own, but SYNC, of which
-- a process has one, must be the same for all.

local sync = require "sync"
require "sync.testing"
for _, name in ipairs {"Remote", "fault", "method", "null"} do
  assert(sync[name], name) -- each is loaded when it is first used
end
