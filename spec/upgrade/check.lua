-- Replaces a server again and again under clients that talk to it all the time, reloads its script
-- between, and compares with the same time without that. Run:
--
--     ./sync-lua spec/upgrade/check.lua [SECONDS=60] [TIMES=10] [STREAMS=1000] [WEBSOCKETS=800]
--       [TLS=200]
--
-- With WORKERS=N in the environment the server is a parent of N workers, which all clients share:
-- rooms have members on each, sessions come back to any, and sync.shared counts messages. With
-- CLUSTER=URL it, or each of its workers, is a node.
--
-- Of the WebSockets half compress, and an eighth of those without TLS have sessions, which lose
-- their connections and resume; every fiftieth client reads slowly what the server has much of; all
-- are in rooms. Prints what the server says of each upgrade. Fails when a message is lost, doubled
-- or out of order, a connection is closed, or, where it runs for half a minute or longer, a message
-- takes longer than 100 ms and than three times what the longest takes without upgrades.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local ffi = require "ffi"
local socket = require "socket"

local seconds, times, streams, websockets, tls = ...
seconds, times = tonumber(seconds or 60), tonumber(times or 10)
streams, websockets, tls = streams or "1000", websockets or "800", tls or "200"

local workers, cluster = os.getenv "WORKERS", os.getenv "CLUSTER"
local MEMBERS, EACH = 20, 50         -- as in load.h
local FLOOD, FLOOD_BYTES = 24, 16000

local SERVER = [[
local sync = require "sync"
local ROOMS, EACH, FLOOD, FLOOD_BYTES = %d, %d, %d, %d
sync.after(400, sync.stop)

local shared = sync.shared "check"

-- A client's next message: where it is told to its room, the room and the text.
local function count(client, text)
  local number, told = text:match "^(%%d+) (%%d+)"
  client.count = (client.count or 0) + 1
  if tonumber(told) ~= client.count then error("message " .. text) end
  local name = "room " .. number %% ROOMS
  if client.count == 1 then client:join(name) end
  if client.count %% EACH == 0 then
    shared:increment "rounds"
    return client:room(name), ("R %%s %%d"):format(number, client.count)
  end
end

local Echo = sync.Protocol:extend("Echo")
Echo.framing, Echo.compressFrom, Echo.sendTakeover, Echo.receiveTakeover = "line", 1, true, true
Echo.resumeFields = {"count"}
function Echo:flood(number, floods)
  self:join("room " .. number %% ROOMS)
  for i = 1, FLOOD do
    local letters = string.char(97 + (floods + i) %% 26):rep(FLOOD_BYTES)
    self:send(("S %%d %%d %%s"):format(floods, i, letters))
  end
end
function Echo:onData(data, kind)
  local number, floods = data:match "^more (%%d+) (%%d+)$"
  if number then return self:flood(number, floods) end
  local room, text = count(self, data)
  self:send(data, kind)
  if room then room:send(text) end
end

local Game = sync.Remote:extend("Game")
Game.compressFrom, Game.sendTakeover, Game.receiveTakeover = 1, true, true
Game.transports = {"websocket"} -- a busy machine is silent for longer than detectTimeout
Game.resumeTime, Game.resumeFields = 60, {"count"}
function Game.remote:say(text)
  local room, told = count(self, text)
  self:fire("onSay", text)
  if room then room:fire("onRoom", told) end
end

sync.enable("127.0.0.1", %d, Echo)
sync.enable("127.0.0.1", %d, Game)
if %d > 0 then sync.enable("127.0.0.1", %d, Echo, {tls = %s}) end
sync.start()
]]

-- A certificate and its key, as a setting.
local function certificate()
  local file, key = Process.file(), Process.file()
  local made = Process.start {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
    "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=localhost", "-addext",
    "subjectAltName=DNS:localhost", "-days", "2", "-keyout", key, "-out", file}
  if made:wait() ~= 0 then error(made:stderr()) end
  return ("{certificate = %q, key = %q}"):format(file, key)
end

local LOAD = os.getenv "BUILD" or "build"

-- Has `sync-lua COMMAND PID` done; returns what it says.
local function command(name, process)
  local code, out, err = Program.run(name, process)
  if code ~= 0 then error(("%s: %s%s"):format(name, out, err)) end
  return out
end

-- Upgrades and reloads by turns. Returns the process that has taken over last.
local function replace(process, number)
  local begun = socket.gettime()
  for i = 1, 2 * number do
    socket.sleep(math.max(0, begun + i * seconds / (2 * number + 1) - socket.gettime()))
    if i % 2 == 1 then
      process = tonumber(command("upgrade", process):match "process (%d+)")
    else
      command("reload", process)
    end
  end
  return process
end

local function run(number)
  local port, sessions = Process.freePort(), Process.freePort()
  local tlsPort = tonumber(tls) > 0 and Process.freePort() or 0
  local rooms = math.max(1, math.floor((streams + websockets + tls) / MEMBERS))
  local path = Process.file(SERVER:format(rooms, EACH, FLOOD, FLOOD_BYTES, port, sessions, tlsPort,
    tlsPort, certificate()), ".lua")
  local words = {"--watchdog=10", path} -- a busy machine is no error
  if cluster then table.insert(words, 1, "--cluster=" .. cluster) end
  if workers then table.insert(words, 1, "--workers=" .. workers) end
  local server = Program.start(unpack(words))
  server:expect("stderr", "Game listens on")
  local load = Process.start {LOAD .. "/upgrade-load", port, tlsPort, sessions, streams, websockets,
    tls, seconds}
  load:expect("stdout", "begun")
  local process = replace(server.pid, number)
  local code = load:wait(seconds + 30)
  local line = load:stdout():match "begun\n(.-)\n"
  if process ~= server.pid then ffi.C.kill(process, 15) else server:kill "TERM" end
  print(("%2d upgrades and reloads: %s%s"):format(number, line or "", load:stderr()))
  for text in server:stderr():gmatch "has taken over, ([^\n]*)" do print("   " .. text) end
  local trouble = server:stderr():find "ERROR"
  if trouble then print(server:stderr()) end
  return code == 0 and not trouble, tonumber(line and line:match "longest ([%d.]+)") or math.huge
end

local ok, plain = run(0)
local fine, longest = run(times)
Process.cleanUp()
local bound = seconds < 30 and math.huge or math.max(100, 3 * plain)
local passed = ok and fine and longest <= bound
if not passed then print(("FAILED: the longest may be %.0f ms"):format(bound)) end
print(passed and "1 passed, 0 failed" or "0 passed, 1 failed")
os.exit(passed and 0 or 1)
