-- An echo client at 100 messages/s while 200 requests of sync.http wait for a server that sends a
-- byte a second (another process, in Node.js). Prints the client's 50th, 99th and worst time, and
-- fails when the 99th is above 5 ms.
--
--     ./sync-lua bench/waiting/slowly.lua [seconds] [requests]

local socket = require "socket"
local sync = require "sync"

local SECONDS, REQUESTS = tonumber(arg[1]) or 10, tonumber(arg[2]) or 200
local MOST = 5 -- ms

-- The client: a process of its own, as it must not share the loop that is measured.
if arg[1] == "client" then
  local client = assert(socket.connect("127.0.0.1", tonumber(arg[2])))
  client:setoption("tcp-nodelay", true)
  local times, begun = {}, socket.gettime()
  for i = 1, tonumber(arg[3]) * 100 do
    local left = begun + i / 100 - socket.gettime()
    if left > 0 then socket.sleep(left) end
    local sent = socket.gettime()
    client:send "hello\n"
    assert(client:receive "*l")
    times[i] = (socket.gettime() - sent) * 1000
  end
  table.sort(times)
  local ninety = times[math.ceil(#times * 0.99)]
  print(("echo at 100/s: p50 %.2f ms, p99 %.2f ms, worst %.2f ms"):format(times[#times / 2], ninety,
    times[#times]))
  os.exit(ninety < MOST and 0 or 1)
end

local Echo = sync.Protocol:extend("Echo")
function Echo:onData(data) self:send(data) end
local listener = assert(sync.enable("127.0.0.1", 0, Echo))

local peer = assert(io.popen("node spec/fetch/peer.mjs 0 & echo $!; wait"))
local process = peer:read "*l"
local url = ("http://127.0.0.1:%s/slowly"):format(peer:read "*l":match "%d+$")

sync.http.perHost, sync.http.most = REQUESTS, REQUESTS
local codes = {}
for _ = 1, REQUESTS do
  sync.spawn(function()
    local _, _, code = sync.http {url = url, proxy = false, timeout = SECONDS + 3}
    codes[code or "answered"] = (codes[code or "answered"] or 0) + 1
  end)
end

sync.spawn(function()
  sync.sleep(1) -- until all of them wait
  local result = os.tmpname()
  os.execute(("(./sync-lua %s client %d %d >%s; echo $? >>%s) &"):format(arg[0], listener.port,
    SECONDS, result, result))
  sync.sleep(SECONDS + 1)
  local running = sync.http.state()
  sync.sleep(3)
  local text = io.open(result):read "*a"
  os.remove(result)
  os.execute("kill " .. process)
  print(text:gsub("%d+\n$", "") .. ("%d requests waited, %d timed out in the end")
    :format(running, codes.timeout or 0))
  os.exit(text:find "\n0\n$" and running == REQUESTS and 0 or 1)
end)
sync.start()
