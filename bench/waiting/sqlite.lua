-- SQLite point reads with N waiting: how many a second, and how much of a core each takes.
--
--     ./sync-lua bench/waiting/sqlite.lua [waiting] [reads]
--     cc -O2 bench/waiting/sqlite.c -o build/sqlite-loop -lsqlite3 && build/sqlite-loop FILE
--
-- The second is the C API in a loop, on the file whose name the first prints.

local sync = require "sync"

local WAITING, READS, ROWS = tonumber(arg[1]) or 64, tonumber(arg[2]) or 200000, 10000
local file = os.tmpname()
local db = sync.sql("sqlite:" .. file)

local function fill()
  db:run("create table t (k integer primary key, v text)")
  db:transaction(function(tx)
    for i = 1, ROWS do tx:run("insert into t (v) values (?)", "value" .. i) end
  end)
end

local function now() return require "sync.core".C.sync_now() end

sync.spawn(function()
  fill()
  local left, begun, cpu = WAITING, now(), os.clock()
  for c = 1, WAITING do
    sync.spawn(function()
      for i = 1, READS / WAITING do
        db:value("select v from t where k = ?", (i * 7919 + c) % ROWS + 1)
      end
      left = left - 1
      if left > 0 then return end
      print(("%d waiting: %.0f reads/s, %.1f us of CPU each; %s"):format(WAITING,
        READS / (now() - begun), (os.clock() - cpu) / READS * 1e6, file))
      db:close()
    end)
  end
end)
sync.start()
