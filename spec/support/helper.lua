-- Runs before the specs: finds SYNC where there is no sync-lua, and loads what must be
-- loaded once, for busted gives each spec file a fresh package.loaded.

if not pcall(require, "sync.cdef") then
  error("the specs need `make build` first", 0)
end

-- Inside sync-lua, protocols/echo.lua is sync.protocols.echo; luajit must be told.
table.insert(package.loaders, function(name)
  local file = name:match("^sync%.protocols%.(%w+)$")
  return file and loadfile("protocols/" .. file .. ".lua")
end)

require "sync"
require "sync.testing"
require "spec.support.process"

-- Specs with 1,000 clients need as many files on both sides.
require "sync.core".C.sync_file_limit()

-- What handlers log when specs make them fail would look like failures of the specs.
require "sync.log".write = function() end

-- busted loads modules anew for each file. Those that sync keeps must be the same for all.
for _, name in ipairs {"sync.task", "sync.remoting.remote", "sync.remoting.method",
  "sync.remoting.fault", "sync.remoting.client", "sync.remoting.gateway", "sync.amf",
  "sync.flash.wire", "sync.rooms.room", "sync.jobs", "sync.secrets.library", "sync.secrets.crypto",
  "sync.secrets.password", "sync.secrets.jwt", "sync.sql", "sync.sql.migrate",
  "sync.sql.sqlite", "sync.sql.postgres", "sync.sql.mysql", "sync.service.failure",
  "sync.limits", "sync.redis", "sync.socket", "sync.fetch", "sync.secrets.keyset"} do
  require(name)
end

-- A file's clients that nobody closed would keep the loop of the next one alive, until they are
-- idle.
local loop = require "sync.loop"
require "busted".subscribe({"file", "end"}, function()
  if loop.running then return end
  for _, client in pairs(loop.clients) do client:abort() end
  for _ = 1, 3 do loop.step() end
end)
