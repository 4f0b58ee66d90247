local amf = require "sync.amf"
local amfpacket = require "sync.flash.packet"

local function bytes(hex)
  return (hex:gsub("%s", ""):gsub("%x%x", function(pair)
    return string.char(tonumber(pair, 16))
  end))
end

local function hex(text)
  return (text:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

-- A call of Game.join("ann", [7]) as Ruffle makes it: the arguments are a strict array, the
-- array in it one of names.
local CALL = [[0000 0000 0001
  0009 47616d652e6a6f696e 0002 2f31 00000029
    0a 00000002
      02 0003 616e6e
      08 00000001 0001 30 00 401c000000000000 0006 6c656e677468 00 3ff0000000000000 0000 09]]

local HEADERS = [[0000 0002
  0003 666f6f 01 00000002 0101
  0003 626172 00 ffffffff 05
  0000]]

describe("packets", function()
  it("hold calls", function()
    -- The length in the text above counts what is behind it.
    local whole = bytes(CALL)
    local body = whole:find("\10\0\0\0\2", 1, true)
    whole = whole:sub(1, body - 2) .. string.char(#whole - body + 1) .. whole:sub(body)
    local packet = assert(amfpacket.decode(whole))
    assert.same({version = 0, headers = {}, messages = {
      {target = "Game.join", response = "/1", value = {"ann", {7}}},
    }}, packet)
  end)

  it("hold headers, of lengths that may be unknown", function()
    assert.same({version = 0, messages = {}, headers = {
      {name = "foo", mustUnderstand = true, value = true},
      {name = "bar", mustUnderstand = false, value = amf.null},
    }}, assert(amfpacket.decode(bytes(HEADERS))))
  end)

  it("are written as they are read", function()
    local bodies = {[0] = "03 0001 61 02 0001 62 0000 09", [3] = "11 0a0b01 0361 060362 01"}
    for version, body in pairs(bodies) do
      body = body:gsub(" ", "")
      local text = [[%04x 0001 0001 68 01 %08x %s
        0001 000b 2f312f6f6e526573756c74 0004 6e756c6c %08x %s]]
      text = text:format(version, #body / 2, body, #body / 2, body):gsub("%s", "")
      local packet = {version = version,
        headers = {{name = "h", mustUnderstand = true, value = {a = "b"}}},
        messages = {{target = "/1/onResult", response = "null", value = {a = "b"}}}}
      assert.equal(text, hex(assert(amfpacket.encode(packet))))
      assert.same(packet, assert(amfpacket.decode(bytes(text))))
    end
    assert.equal("000000000000", hex(assert(amfpacket.encode {})))
  end)

  it("can't be read in part, nor with anything behind", function()
    local whole = assert(amfpacket.encode {version = 3,
      headers = {{name = "h", value = {1, "a"}}},
      messages = {{target = "a", value = {x = {1.5}}}, {target = "b", value = "b"}}})
    assert.is_table(amfpacket.decode(whole))
    for length = 0, #whole - 1 do
      local packet, problem = amfpacket.decode(whole:sub(1, length))
      assert.is_nil(packet)
      assert.matches("cut short$", problem)
    end
    assert.same({nil, ("byte %d: there are bytes behind the packet"):format(#whole + 1)},
      {amfpacket.decode(whole .. "\0")})
  end)

  it("have lengths that are right", function()
    for _, length in ipairs {"00000001", "00000003"} do
      local text = "0000 0000 0001 0001 61 0001 62" .. length .. "0101 05"
      assert.matches("has 2 bytes, not [13]$", select(2, amfpacket.decode(bytes(text))))
    end
    assert.matches("cut short", select(2, amfpacket.decode(
      bytes "0000 0000 0001 0001 61 0001 62 fffffffe 0101")))
  end)

  it("start their references anew in each value", function()
    local object = "0a 00000001 03 0000 09"
    local function packet(second)
      return bytes("0000 0000 0002 0001 61 0001 62 ffffffff" .. object ..
        "0001 61 0001 62 ffffffff" .. second)
    end
    assert.matches("reference 1 leads nowhere",
      select(2, amfpacket.decode(packet "0a 00000001 07 0001")))
    assert.matches("reference 0 leads to no string", select(2, amfpacket.decode(
      bytes "0003 0000 0002 0000 0000 ffffffff 11 060361 0000 0000 ffffffff 11 0600")))
    local value = assert(amfpacket.decode(packet(object .. ""))).messages[2].value
    assert.same({{}}, value)
    value = assert(amfpacket.decode(packet "0a 00000002 03 0000 09 07 0001")).messages[2].value
    assert.equal(value[1], value[2])
  end)

  it("keep to the limits as a whole", function()
    local message = {target = "a", value = {1, 2, 3}}
    local text = assert(amfpacket.encode {messages = {message, message}})
    assert.is_table(amfpacket.decode(text, {values = 8}))
    assert.matches("too many values", select(2, amfpacket.decode(text, {values = 7})))
    assert.matches("nested deeper than 0", select(2, amfpacket.decode(text, {depth = 0})))
    assert.same({nil, "packet: it is too large"},
      {amfpacket.encode({messages = {message, message}}, {size = #text - 10})})
  end)

  it("are of version 0 or 3", function()
    assert.matches("there is no version 1$", select(2, amfpacket.decode(bytes "0001 0000 0000")))
    assert.has_error(function() amfpacket.encode {version = 1} end,
      "amfpacket.encode(packet): the version is 0 or 3")
  end)

  it("have no references, unless these are wanted", function()
    local shared = {1}
    local packet = {messages = {{target = "a", value = {shared, shared}}}}
    assert.is_nil((amfpacket.encode(packet)):find("\7", 1, true))
    assert.is_truthy((amfpacket.encode(packet, {})):find("\7", 1, true))
    packet.version = 3
    local plain, referring = amfpacket.encode(packet), amfpacket.encode(packet, {})
    assert.is_true(#referring < #plain)
  end)

  it("say what can't be written", function()
    assert.same({nil, "packet: message 2: value[x]: a function can't be written"},
      {amfpacket.encode {messages = {{target = "a"}, {target = "b", value = {x = print}}}}})
    assert.same({nil, "packet: message 1's target is not a string"},
      {amfpacket.encode {messages = {{}}}})
    assert.same({nil, "packet: header 1's name is too long"},
      {amfpacket.encode {headers = {{name = ("a"):rep(65536)}}}})
    assert.matches("not UTF%-8", select(2, amfpacket.encode {messages = {{target = "\255"}}}))
    assert.same({nil, "value: AMF0 has no byte arrays"}, {amfpacket.value(amf.bytes "a", 0)})
  end)

  it("are put together from values that were written before", function()
    for version, value in pairs {[0] = amf.list {1, "a"}, [3] = amf.bytes "a"} do
      local written = assert(amfpacket.value(value, version))
      local function message(part)
        part.target, part.response = "/1/onResult", "null"
        return assert(amfpacket.encode {version = version, messages = {part}})
      end
      assert.equal(message {value = value}, message {bytes = written})
    end
  end)

  it("name what is not UTF-8", function()
    assert.matches("not UTF%-8", select(2, amfpacket.decode(
      bytes "0000 0000 0001 0001 ff 0001 62 ffffffff 05")))
  end)
end)
