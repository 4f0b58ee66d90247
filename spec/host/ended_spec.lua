-- Clients that are owed data, read nothing and end their side: whatever they speak, the server
-- waits for them without asking for them again and again.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

-- It says "ended" when its end has left. In TLS the connection's own end, which nothing
-- announces: so the TLS goes through a stream of ours.
local CLIENT = [[
  const [kind, port] = process.argv.slice(1);
  const {Duplex} = require("stream");
  const get = path => `GET ${path} HTTP/1.1\r\nHost: localhost:${port}\r\n`;
  const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
  const first = {tcp: "much\n", tls: "much\n", http: (get("/much") + "\r\n").repeat(2),
    websocket: get("/") + upgrade + "\r\n"}[kind];
  const raw = require("net").connect({port: +port, host: "127.0.0.1", allowHalfOpen: true});
  let stream = raw;
  if (kind === "tls") {
    const between = new Duplex({read() {}, write(bytes, _, done) { raw.write(bytes, done); }});
    raw.on("data", bytes => between.push(bytes));
    stream = require("tls").connect({socket: between, rejectUnauthorized: false});
  }
  stream.write(first);
  stream.once("data", () => {
    raw.pause();
    raw.end(() => console.log("ended"));
  });
  raw.on("error", () => {});
  setTimeout(() => process.exit(), 60000);
]]

-- Seconds of a processor that a process has used.
local function cpu(process)
  local file = assert(io.open("/proc/" .. process.pid .. "/stat"))
  local user, system = file:read("*a"):match("^%d+ %b() %S" .. (" %S+"):rep(10) .. " (%d+) (%d+)")
  file:close()
  return (user + system) / 100
end

describe("a client that is owed data and ends its side costs nothing", function()
  local certificate, key = os.tmpname(), os.tmpname()

  setup(function()
    local made = Process.start {"openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
      "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj", "/CN=localhost", "-addext",
      "subjectAltName=DNS:localhost", "-out", certificate, "-keyout", key}
    assert.equal(0, (made:wait()))
  end)

  teardown(function()
    os.remove(certificate)
    os.remove(key)
  end)

  after_each(Process.cleanUp)

  for _, kind in ipairs {"tcp", "tls", "websocket", "http"} do
    it("over " .. kind, function()
      local server, port = Program.serve(([[
        io.stdout:setvbuf "line"
        local Much = sync.Protocol:extend("Much")
        local much = ("x"):rep(2^24)
        Much.framing, Much.maxQueue, Much.closeTimeout = "line", 2^26, 60
        function Much:onConnect(request) if request then self:onData() end end
        function Much:onData() self:send(much) end
        function Much:onClose(reason) print(reason) end
        Much.routes["GET /much"] = function() return much end
        sync.enable("127.0.0.1", 0, Much, {tls = {certificate = %q, key = %q}})
        sync.start()
      ]]):format(certificate, key))
      local client = Process.start {"node", "-e", CLIENT, kind, port}
      client:expect("stdout", "ended")
      if kind ~= "http" then server:expect("stdout", "left") end
      local before, begin = cpu(server), socket.gettime()
      socket.sleep(2)
      local share = (cpu(server) - before) / (socket.gettime() - begin)
      assert.is_true(share < 0.02, ("%.0f %% of a processor"):format(100 * share))
      assert.is_true(client:isRunning())
    end)
  end
end)
