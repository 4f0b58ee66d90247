local ffi = require "ffi"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local WebSocket = require "spec.support.websocket"
local support = require "spec.support"
local sync = require "sync"
local testing = require "sync.testing"

local WEBSOCKET = {transports = {"websocket"}}
local SIZES = {1, 2, 63, 125, 126, 511, 512, 2047, 16384, 65535}

-- A class whose `onBytes` is this function.
local function taker(onBytes, fields)
  local class = support.protocol(fields)
  class.onBytes = onBytes
  return class
end

local function echo(fields)
  return taker(function(self, bytes, length) self:sendBytes(bytes, length) end, fields)
end

-- Bytes of all values, so that a copy from elsewhere is seen.
local function pattern(size)
  local parts = {}
  for i = 1, size do parts[i] = string.char((i * 31 + math.floor(i / 256)) % 256) end
  return table.concat(parts)
end

describe("onBytes", function()
  after_each(support.cleanUp)
  after_each(Process.cleanUp)

  it("gets a pointer to bytes and their number instead of a string", function()
    local told
    local client = support.connect(taker(function(_, bytes, length, kind)
      told = {ffi.istype("const uint8_t *", bytes), ffi.string(bytes, length), kind == nil}
    end, {framing = "line"}))
    client:send("a\0\255\n")
    assert.same({true, "a\0\255", true}, told)
  end)

  for _, framing in ipairs {"raw", "line", "null", "length16", "length32", "length24le"} do
    it("and sendBytes carry any bytes by framing " .. framing, function()
      local frames = {raw = "%s", line = "%s\n", null = "%s\0", length16 = "\0\5%s",
        length32 = "\0\0\0\5%s", length24le = "\5\0\0%s"}
      support.bothWays(function(feed)
        local client = support.connect(echo {framing = framing})
        local bytes = frames[framing]:format("ab\1\255e"):rep(3)
        feed(client, bytes)
        assert.equal(bytes, client:received())
      end)
    end)
  end

  it("and sendBytes carry messages of all sizes, of a byte stream and in frames", function()
    local stream = support.connect(echo {framing = "length32"})
    local frames = support.connect(echo(), 1, WEBSOCKET)
    for _, size in ipairs(SIZES) do
      local bytes = pattern(size)
      local sent = ("\0%s"):format(string.char(math.floor(size / 65536),
        math.floor(size / 256) % 256, size % 256)) .. bytes
      stream:send(sent)
      assert.is_true(sent == stream:received())
      frames:sendBytes(ffi.cast("const char *", bytes), size)
      local data, kind = frames:message()
      assert.is_true(data == bytes)
      assert.equal("binary", kind)
    end
  end)

  it("is told the kind, and sendBytes takes one", function()
    local told = {}
    local class = taker(function(self, bytes, length, kind)
      told[#told + 1] = kind
      self:sendBytes(bytes, length)
      self:sendBytes(bytes, length, "binary")
      self.clients:sendBytes(bytes, length, "text")
      self.clients:filter(function() return true end):sendBytes(bytes, length, "binary")
    end)
    local client = support.connect(class, 1, WEBSOCKET)
    client:sendTogether {{"one", "text"}, {"two", "binary"}}
    assert.same({"text", "binary"}, told)
    local got = {}
    for data, kind in function() return client:message() end do got[#got + 1] = kind .. data end
    assert.equal("textone binaryone textone binaryone binarytwo binarytwo texttwo binarytwo",
      table.concat(got, " "))
  end)

  it("reaches sets, views of them and rooms by sendBytes", function()
    local ones = ffi.new("uint8_t[3]", 1, 1, 1)
    local class = taker(function(self)
      self.clients:sendBytes(ffi.new("struct { uint8_t a, b; }", 2, 3), 2)
      self.clients:except(self):sendBytes(ones, 3)
      self.clients:filter(function(c) return c == self end):sendBytes(ones, 1)
      self.clients:except(self):except(self):sendBytes(ones, 2)
      self:room("r"):sendBytes(ffi.cast("char *", ones), 0)
    end, {framing = "length16"})
    local one, two = support.connect(class, 2)
    one.server:join("r")
    one:send("\0\1x")
    assert.equal("\0\2\2\3\0\1\1\0\0", one:received())
    assert.equal("\0\2\2\3\0\3\1\1\1\0\2\1\1", two:received())
  end)

  it("may be looked at until the handler returns, whatever that does before", function()
    local bytes, seen = pattern(40000), {}
    local frame = WebSocket.frame(WebSocket.BINARY, bytes)
    for _, doing in ipairs {"close", "abort", "send", "error"} do
      local class = taker(function(self, at, length)
        if doing == "send" then
          for _ = 1, 60 do self:sendBytes(at, length) end
        elseif doing ~= "error" then
          self[doing](self)
        end
        collectgarbage()
        seen[#seen + 1] = doing .. tostring(ffi.string(at, length) == bytes)
        if doing == "error" then error("after all") end
      end, {maxQueue = 4 * 1024 * 1024, framing = "length32"})
      -- In two parts, so that the core has put the message together.
      local stream = support.connect(class)
      stream:send("\0\0\156\64" .. bytes:sub(1, 30000))
      stream:send(bytes:sub(30001))
      local messages = support.connect(class, 1, {transports = {"websocket"}, framing = "raw"})
      messages.isWebSocket = false -- it sends bytes as they are now
      messages:send(frame:sub(1, 30000))
      messages:send(frame:sub(30001))
    end
    assert.equal("closetrue closetrue aborttrue aborttrue sendtrue sendtrue errortrue errortrue",
      table.concat(seen, " "))
  end)

  it("gets what a client has sent in parts, and compressed", function()
    local _, port = Program.serve([[
      local C = sync.Protocol:extend("C")
      C.compression = true
      function C:onBytes(bytes, length, kind) self:sendBytes(bytes, length, kind) end
      sync.enable("127.0.0.1", 0, C)
      sync.start()
    ]])
    local client = assert(WebSocket.connect(port))
    client.socket:send(WebSocket.frame(WebSocket.BINARY, "one", true) ..
      WebSocket.frame(0, "two", true) .. WebSocket.frame(0, "three"))
    local opcode, payload = client:receive()
    assert.same({WebSocket.BINARY, "onetwothree"}, {opcode, payload})
    client.socket:close()
    client = assert(WebSocket.connect(port, "/",
      "Sec-WebSocket-Extensions: permessage-deflate\r\n"))
    -- "Hello", compressed (RFC 7692 7.2.3.1): RSV1 and a text frame.
    client.socket:send(WebSocket.frame(0x41, "\242\72\205\201\201\7\0"))
    opcode, payload = client:receive()
    assert.same({WebSocket.TEXT, "Hello"}, {opcode, payload})
    client.socket:close()
  end)

  it("counts as any message does: order, limits and closed clients", function()
    local told = {}
    local class = taker(function(self, bytes, length)
      told[#told + 1] = ffi.string(bytes, length)
      if told[#told] == "bye" then self:close() end
    end, {framing = "line", maxMessage = 10})
    local client = support.connect(class)
    client:send("a\nbb\nbye\nnever\n")
    assert.same({"a", "bb", "bye"}, told)
    local reason
    function class:onClose(why) reason = why end -- luacheck: ignore self
    support.connect(class):send(("x"):rep(11) .. "\n")
    assert.equal("too long", reason)
  end)

  it("costs one connection when it raises, and when it waits", function()
    local class = taker(function(_, bytes)
      if bytes[0] == 119 then sync.sleep(0.01) else error("broken") end -- "w"
    end, {framing = "line"})
    local one, two, other = support.connect(class, 3)
    local lines = support.logged(function() one:send("x\n") two:send("w\n") end)
    assert.is_false(one:isOpen() or two:isOpen())
    assert.is_true(other:isOpen())
    assert.matches("broken", lines[1])
    assert.matches("must be called inside sync.spawn", table.concat(lines, "\n"))
  end)

  it("is no handler beside onData", function()
    local both = support.protocol()
    function both.onData() end
    function both.onBytes() end
    assert.matches("^testing.serve: Spec%d+.onBytes takes all messages, so Spec%d+.onData would " ..
      "never be called: keep one of them", support.raised(testing.serve, both))
    local taking = taker(function() end)
    local reading = support.protocol({}, taking)
    function reading.onData() end
    assert.matches("would never be called", support.raised(sync.enable, "127.0.0.1", 0, reading))
    local below = support.protocol()
    function below.onData() end
    local above = support.protocol({onBytes = function() end}, below)
    assert.matches("would never be called", support.raised(testing.serve, above))
    support.serve(support.protocol({}, taking))
  end)

  it("must be a function, well spelt, and not on a sync.Remote", function()
    assert.matches("%.onBytes must be a function, not number",
      support.raised(testing.serve, support.protocol {onBytes = 5}))
    assert.matches("sets onbytes; did you mean onBytes%?",
      support.raised(testing.serve, support.protocol {onbytes = function() end}))
    local remote = support.protocol({onBytes = function() end}, sync.Remote)
    assert.matches("onBytes would take all messages, which are calls here",
      support.raised(sync.enable, "127.0.0.1", 0, remote))
    local advice = require "sync.advice"
    assert.matches("did you mean onBytes%?",
      table.concat(advice.of(support.protocol {onByts = function() end})))
    assert.same({}, advice.of(taker(function() end)))
  end)

  it("refuses what are no bytes", function()
    local class = support.protocol()
    local client = support.connect(class)
    local one, bytes = client.server, ffi.new "uint8_t[4]"
    for _, target in ipairs {one, class.clients, class.clients:except(one), client} do
      assert.matches("sendBytes%(bytes, length%): bytes must be a pointer or an array of the " ..
        "FFI, not string; send%(data%) takes strings",
        support.raised(target.sendBytes, target, "a", 1))
      assert.matches("length must be a number from 0 on, not nil",
        support.raised(target.sendBytes, target, bytes))
      assert.matches("length must be a number from 0 on, not %-1",
        support.raised(target.sendBytes, target, bytes, -1))
      assert.matches("and 0 for a null pointer",
        support.raised(target.sendBytes, target, ffi.new "void *", 1))
      assert.matches("called with a dot", support.raised(target.sendBytes, bytes, 1))
    end
    assert.matches('sendBytes%(bytes, length, kind%): kind must be "text" or "binary", not "blob"',
      support.raised(one.sendBytes, one, bytes, 4, "blob"))
    assert.same({false, "too long"}, {one:sendBytes(bytes, 2 ^ 40)})
    assert.same({false, "too long"}, {one:sendBytes(bytes, math.huge)})
    assert.is_true(one:sendBytes(ffi.new "void *", 0))
    assert.equal("", client:received())
  end)

  it("reaches other nodes as a string, which lives on", function()
    local class = taker(function() end)
    local client = support.connect(class)
    local published = {}
    class.clients.channel = {publish = function(_, ...) published[#published + 1] = {...} end,
      note = function() end, addRoom = function() end}
    local bytes = ffi.new("uint8_t[2]", 7, 8)
    class.clients:sendBytes(bytes, 2, "text")
    class.clients:except(client.server):sendBytes(bytes, 2)
    class.clients:filter(function() return true end):sendBytes(bytes, 1)
    class.clients.channel = false
    assert.same({{"\7\8", 1}, {"\7\8", 0}}, published)
    assert.equal("\7\8\7", client:received())
  end)

  it("is compiled whole, and named in the JIT's report", function()
    local status, out, err = Program.runCode([[
      local ffi, sync, testing = require "ffi", require "sync", require "sync.testing"
      local Moving = sync.Protocol:extend("Moving")
      Moving.framing = "length16"
      local move = ffi.new "struct { uint32_t player; float x, y; }"
      function Moving:onBytes(bytes, length)
        if length ~= ffi.sizeof(move) then return end
        ffi.copy(move, bytes, length)
        move.player = move.player + ffi.cast("const uint16_t *", bytes)[0] + bytes[3]
        self:sendBytes(move, length)
        self.clients:sendBytes(move, length)
        self.clients:except(self):sendBytes(bytes, length, "binary")
      end
      sync.jit.watch()
      sync.enable("127.0.0.1", 0, Moving):close()
      local server = testing.serve(Moving)
      local client, other = server:connect(), server:connect()
      for _ = 1, 500 do
        client:send(("\0\12............"):rep(100))
        client:received()
        other:received()
      end
      print(sync.jit.report())
    ]])
    assert.equal(0, status, err)
    assert.matches("Moving:onBytes%s+native code [^i]", out)
  end)
end)
