-- An echo client at 100 messages/s beside handlers that wait: its times while these do.
--
--     ./sync-lua bench/waiting/beside.lua CASE [seconds]     make bench-waits runs all
--
-- CASE is one of
--     idle        nothing else, to compare with
--     logins      200 a second: argon2id with 19 MiB, two passes, one lane; the users in SQLite
--     postgres    100 a second ask a PostgreSQL that was stopped by SIGSTOP
--     dns         100 a second ask a database whose host's name server never answers (as root, for
--                 a resolv.conf of its own: see run.py)
--     http        100 a second ask an HTTP server that sends a byte a second

local Process = require "spec.support.process"
local core = require "sync.core"
local loop = require "sync.loop"
local socket = require "socket"
local sync = require "sync"

local CASE, SECONDS = arg[1], tonumber(arg[2]) or 10

-- The clients are processes of their own, as they must not share the loop that is measured.

local function echoes(port, seconds)
  local client = assert(socket.connect("127.0.0.1", port))
  client:setoption("tcp-nodelay", true)
  local times, begun = {}, socket.gettime()
  for i = 1, seconds * 100 do
    local left = begun + i / 100 - socket.gettime()
    if left > 0 then socket.sleep(left) end
    local sent = socket.gettime()
    client:send("hello\n")
    assert(client:receive "*l")
    times[i] = (socket.gettime() - sent) * 1000
  end
  table.sort(times)
  print(("%.2f %.2f %.2f"):format(times[#times / 2], times[math.ceil(#times * 0.99)],
    times[#times]))
end

-- Sends so many lines a second, over 50 connections that don't wait for answers.
local function offers(port, seconds, rate)
  local clients = {}
  for i = 1, 50 do clients[i] = assert(socket.connect("127.0.0.1", port)) end
  local begun = socket.gettime()
  for i = 1, seconds * rate do
    local left = begun + i / rate - socket.gettime()
    if left > 0 then socket.sleep(left) end
    clients[i % 50 + 1]:send(("ask user%d\n"):format(i % 100))
  end
end

local function trickles()
  local server = assert(socket.bind("127.0.0.1", 0))
  print(select(2, server:getsockname()))
  io.stdout:flush()
  local clients, at = {}, 0
  server:settimeout(0.05)
  while true do
    local client = server:accept()
    if client then
      client:settimeout(0)
      client:send "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"
      clients[#clients + 1] = client
    end
    if socket.gettime() - at >= 1 then
      at = socket.gettime()
      for _, each in ipairs(clients) do each:send "x" end
    end
  end
end

local roles = {echoes = echoes, offers = offers, trickles = trickles}
if roles[CASE] then
  roles[CASE](tonumber(arg[2]), tonumber(arg[3]), tonumber(arg[4]))
  os.exit(0)
end

local function start(role, ...)
  local words = {os.getenv "SYNC_LUA" or "./sync-lua", arg[0], role}
  for _, word in ipairs {...} do words[#words + 1] = tostring(word) end
  return Process.start(words)
end

-- What is asked, by case: functions that return what is called after the measuring.

local asks = {} -- set by the case: a function of the user's name, which may wait
local files = {}

local cases = {}

function cases.idle() end

function cases.logins()
  local file = os.tmpname()
  files = {file, file .. "-wal", file .. "-shm"}
  local db = sync.sql("sqlite:" .. file)
  db:run "create table user (name text primary key, hash text)"
  local hash = assert(sync.password.hash "password")
  for i = 0, 99 do db:run("insert into user values (?, ?)", "user" .. i, hash) end
  function asks.fn(name)
    local right, why = sync.password.verify("password",
      db:value("select hash from user where name = ?", name))
    if right == nil then error(why:match "busy" or why, 0) end
  end
  return 200
end

function cases.postgres()
  local server = require "spec.support.postgres".start()
  local db = sync.sql(server.url, {size = 10, queue = 50, queueTimeout = 1, timeout = 2})
  db:value "select 1"
  function asks.fn() db:value "select 1" end
  local function all(signal) -- its backends, too
    local pid = server.process.pid
    os.execute(("kill -%s %d $(pgrep -P %d)"):format(signal, pid, pid))
  end
  all "STOP"
  return 100, function()
    all "CONT"
    server:stop()
  end
end

function cases.dns()
  local db = sync.sql("postgres://sync@database.example/test",
    {size = 10, queue = 50, queueTimeout = 1, timeout = 2})
  function asks.fn() db:value "select 1" end
  return 100
end

function cases.http()
  local peer = start "trickles"
  local port = peer:expect("stdout", "(%d+)")
  local url = ("http://127.0.0.1:%s/"):format(port)
  function asks.fn()
    local response, _, code = sync.http {url = url, timeout = 3}
    if not response then error({code = code}, 0) end
  end
  return 100, function() peer:kill "KILL" end
end

local Echo = sync.Protocol:extend("Echo")
Echo.framing = "line"
function Echo:onData(data) self:send(data) end

local ended, failures = 0, {}
local Waiter = sync.Protocol:extend("Waiter")
Waiter.framing = "line"
Waiter.maxMessage = 4096
-- Each line is asked for by itself, so that what can't be taken is refused, and not queued.
function Waiter:onData(line) -- luacheck: ignore self
  sync.spawn(function()
    local ok, err = pcall(asks.fn, line:match "^ask (%S+)")
    if ok then
      ended = ended + 1
    else
      local code = type(err) == "table" and tostring(err.code) or tostring(err)
      failures[code] = (failures[code] or 0) + 1
    end
  end)
end

local function list(counts)
  local texts = {}
  for name, count in pairs(counts) do texts[#texts + 1] = ("%s %d"):format(name, count) end
  table.sort(texts)
  return texts[1] and table.concat(texts, ", ") or "none"
end

local prepare = assert(cases[CASE], "there is no such case: " .. tostring(CASE))
local listener = sync.enable("127.0.0.1", 0, Echo)
local other = sync.enable("127.0.0.1", 0, Waiter)

sync.spawn(function()
  local rate, tidy = prepare()
  local offering = rate and start("offers", other.port, SECONDS + 1, rate)
  sync.sleep(0.5)
  local client = start("echoes", listener.port, SECONDS)
  sync.sleep(SECONDS + 1)
  local p50, p99, worst = client:expect("stdout", "([%d.]+) ([%d.]+) ([%d.]+)")
  sync.sleep(4) -- what waits has come to an end by then, one way or the other
  if tidy then tidy() end
  if offering then offering:wait() end
  print(("%s p50 %s p99 %s worst %s; %d done, failed: %s; %d threads for passwords, %d cores")
    :format(CASE, p50, p99, worst, ended, list(failures), sync.password.threads,
      core.C.sync_core_count()))
  for _, file in ipairs(files) do os.remove(file) end
  loop.stop(0)
  os.exit(0)
end)
sync.start()
