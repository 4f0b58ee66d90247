-- An echo client at 100 messages/s while 200 logins a second are offered: argon2id with 19 MiB,
-- two passes and one lane, the users in SQLite. Prints the client's 50th, 99th and worst time.
--
--     ./sync-lua bench/waiting/logins.lua [seconds] [logins a second]

local socket = require "socket"
local sync = require "sync"

local SECONDS, LOGINS = tonumber(arg[1]) or 10, tonumber(arg[2]) or 200

-- The client: a process of its own, as it must not share the loop that is measured.
if arg[1] == "client" then
  local client = assert(socket.connect("127.0.0.1", tonumber(arg[2])))
  client:setoption("tcp-nodelay", true)
  local times, begun = {}, socket.gettime()
  for i = 1, tonumber(arg[3]) * 100 do
    local left = begun + i / 100 - socket.gettime()
    if left > 0 then socket.sleep(left) end
    local sent = socket.gettime()
    client:send("hello\n")
    assert(client:receive "*l")
    times[i] = (socket.gettime() - sent) * 1000
  end
  table.sort(times)
  print(("echo at 100/s: p50 %.2f ms, p99 %.2f ms, worst %.2f ms"):format(times[#times / 2],
    times[math.ceil(#times * 0.99)], times[#times]))
  os.exit(0)
end

local Echo = sync.Protocol:extend("Echo")
function Echo:onData(data) self:send(data) end
local listener = assert(sync.enable("127.0.0.1", 0, Echo))

local file = os.tmpname()
local db = sync.sql("sqlite:" .. file)
local done, refused = 0, 0

local function login(i)
  local hash = db:value("select hash from user where name = ?", "user" .. i % 100)
  local right, why = sync.password.verify("password", hash)
  if right then done = done + 1 else refused = refused + (why and 1 or 0) end
end

sync.spawn(function()
  db:run("create table user (name text primary key, hash text)")
  local hash = sync.password.hash("password")
  for i = 0, 99 do db:run("insert into user values (?, ?)", "user" .. i, hash) end
  local count = 0
  sync.every(1 / LOGINS, function()
    count = count + 1
    sync.spawn(login, count)
  end)
  local client = io.popen(("./sync-lua %s client %d %d"):format(arg[0], listener.port, SECONDS))
  sync.sleep(SECONDS + 1)
  print(client:read "*a" .. ("%d logins/s offered, %.1f done, %.1f refused; %d threads, %d cores")
    :format(LOGINS, done / SECONDS, refused / SECONDS, sync.password.threads,
      require "sync.core".C.sync_core_count()))
  for _, ending in ipairs {"", "-wal", "-shm"} do os.remove(file .. ending) end
  os.exit(0)
end)
sync.start()
