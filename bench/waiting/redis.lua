-- GET of one key from so many tasks, which share a connection: how many a second.
--
--     redis-benchmark -p PORT -c 64 -n 500000 -t get -q
--     ./sync-lua bench/waiting/redis.lua redis://127.0.0.1:PORT [tasks] [seconds]

local sync = require "sync"

local URL, TASKS, SECONDS = arg[1], tonumber(arg[2]) or 64, tonumber(arg[3]) or 5
local db = sync.redis(URL)
local count, left, stopped = 0, TASKS, false

for _ = 1, TASKS do
  sync.spawn(function()
    db:set("key", "value")
    while not stopped do
      db:get "key"
      count = count + 1
    end
    left = left - 1
    if left == 0 then db:close() end
  end)
end

sync.spawn(function()
  sync.sleep(1) -- until it has connected
  local before, cpu = count, os.clock()
  sync.sleep(SECONDS)
  print(("%d tasks: %.0f gets/s, %.1f us of CPU each"):format(TASKS, (count - before) / SECONDS,
    (os.clock() - cpu) / (count - before) * 1e6))
  stopped = true
end)
sync.start()
