-- Replaces a server again and again under clients that talk to it all the time, and compares with
-- the same time without that. Run:
--
--     ./sync-lua spec/upgrade/check.lua [SECONDS=60] [UPGRADES=10] [STREAMS=1000] [WEBSOCKETS=800]
--       [TLS=200]
--
-- Fails when a message is lost, doubled or out of order, a connection is closed, or, where it runs
-- for half a minute or longer, a message takes longer than 100 ms and than three times what the
-- longest takes without upgrades.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local ffi = require "ffi"
local socket = require "socket"

local seconds, upgrades, streams, websockets, tls = ...
seconds, upgrades = tonumber(seconds or 60), tonumber(upgrades or 10)
streams, websockets, tls = streams or "1000", websockets or "800", tls or "200"

local SERVER = [[
local sync = require "sync"
sync.after(300, sync.stop)
local Echo = sync.Protocol:extend("Echo")
Echo.framing, Echo.compressFrom, Echo.sendTakeover, Echo.receiveTakeover = "line", 1, true, true
Echo.resumeFields = {"count"}
function Echo:onConnect()
  self.count = 0
  self:join "all"
end
function Echo:onData(data, kind)
  self.count = self.count + 1
  if tonumber(data:match "^%%d+ (%%d+)") ~= self.count then error("message " .. data) end
  self:send(data, kind)
end
sync.enable("127.0.0.1", %d, Echo)
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

local function run(replaces)
  local port, tlsPort = Process.freePort(), tonumber(tls) > 0 and Process.freePort() or 0
  local path = Process.file(SERVER:format(port, tlsPort, tlsPort, certificate()), ".lua")
  local server = Program.start(path)
  server:expect("stderr", "listens on")
  local load = Process.start {LOAD .. "/upgrade-load", port, tlsPort, streams, websockets, tls,
    seconds}
  load:expect("stdout", "begun")
  local process = server.pid
  local begun = socket.gettime()
  for i = 1, replaces do
    socket.sleep(math.max(0, begun + i * seconds / (replaces + 1) - socket.gettime()))
    local code, out, err = Program.run("upgrade", process)
    if code ~= 0 then error(("upgrade %d: %s%s"):format(i, out, err)) end
    process = tonumber(out:match "process (%d+)")
  end
  local code = load:wait(seconds + 30)
  local line = load:stdout():match "begun\n(.-)\n"
  if process ~= server.pid then ffi.C.kill(process, 15) else server:kill "TERM" end
  print(("%2d upgrades: %s%s"):format(replaces, line or "", load:stderr()))
  if server:stderr():find "ERROR" then print(server:stderr()) end
  return code == 0, tonumber(line and line:match "longest ([%d.]+)") or math.huge
end

local ok, plain = run(0)
local fine, longest = run(upgrades)
Process.cleanUp()
local bound = seconds < 30 and math.huge or math.max(100, 3 * plain)
local passed = ok and fine and longest <= bound
if not passed then print(("FAILED: the longest may be %.0f ms"):format(bound)) end
print(passed and "1 passed, 0 failed" or "0 passed, 1 failed")
os.exit(passed and 0 or 1)
