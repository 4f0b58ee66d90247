-- A select by key from 64 tasks, on the tables of pgbench: how many a second.
--
--     pgbench -i -s 1 URL && pgbench -S -M prepared -c 64 -j 1 -T 5 -n URL
--     ./sync-lua bench/waiting/postgres.lua URL [clients] [seconds]

local sync = require "sync"

local URL, CLIENTS, SECONDS = arg[1], tonumber(arg[2]) or 64, tonumber(arg[3]) or 5
local db = sync.sql(URL, {size = CLIENTS})
local count, left, stopped = 0, CLIENTS, false

for c = 1, CLIENTS do
  sync.spawn(function()
    local i = c
    while not stopped do
      i = (i * 7919 + 17) % 100000
      db:value("select abalance from pgbench_accounts where aid = ?", i + 1)
      count = count + 1
    end
    left = left - 1
    if left == 0 then db:close() end
  end)
end

sync.spawn(function()
  sync.sleep(1) -- until all have connected
  local before, cpu = count, os.clock()
  sync.sleep(SECONDS)
  print(("%d clients: %.0f selects/s, %.1f us of CPU each"):format(CLIENTS,
    (count - before) / SECONDS, (os.clock() - cpu) / (count - before) * 1e6))
  stopped = true
end)
sync.start()
