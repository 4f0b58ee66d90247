-- A select by key for each message of a client, on the tables of pgbench, from a handler that
-- waits. Prints its port, for bench/load:
--
--     pgbench -i -s 1 URL && pgbench -S -M prepared -c 64 -j 1 -T 5 -n URL
--     ./sync-lua bench/waiting/postgres.lua URL & build/bench/load echo -c 64 127.0.0.1:PORT

local sync = require "sync"

local CLIENTS = 64
local db = sync.sql(arg[1], {size = CLIENTS})
local i = 0

local Reader = sync.Protocol:extend("Reader")
Reader.framing = "null"

Reader.onData = sync.waits(function(self, data)
  i = (i * 7919 + 17) % 100000
  assert(db:value("select abalance from pgbench_accounts where aid = ?", i + 1))
  self:send(data)
end)

local listener = sync.enable("127.0.0.1", 0, Reader)
print(listener.port)
io.stdout:flush()
sync.start()
