-- The frames of nodes, and tables that anybody may have written.

local buffer = require "string.buffer"
local ffi = require "ffi"
local frame = require "sync.cluster.frame"

-- Bytes that this process has in memory, or has reserved.
local function reserved()
  return tonumber(io.open("/proc/self/statm"):read "*n") * 4096
end

describe("a frame", function()
  it("tells who has sent it, and which it is", function()
    local bytes = frame.write(frame.FIRE, 16383, 2 ^ 32 - 1, 7, 2 ^ 31, "body")
    assert.same({frame.FIRE, 16383, 2 ^ 32 - 1, 7, 2 ^ 31}, {frame.read(bytes)})
    assert.equal("body", bytes:sub(frame.HEAD + 1))
    assert.is_nil(frame.read(bytes:sub(1, 15)))
  end)

  it("has the kind of its message, or none", function()
    assert.equal(0, frame.kind(frame.write(frame.DATA, 1, 2, 3, 4, "text")))
    assert.equal(2, frame.kind(frame.write(frame.DATA, 1, 2, 3, 4, "text", 2)))
    assert.equal(0, frame.kind("\1\3" .. ("x"):rep(14)))
  end)

  it("for one client has an id and a text", function()
    local bytes = frame.write(frame.DIRECT, 1, 2, 3, 4, frame.direct(2, 2 ^ 46 + 1, "text"))
    assert.same({2, 2 ^ 46 + 1, "text"}, {frame.readDirect(bytes)})
    assert.is_nil(frame.readDirect(bytes:sub(1, 24)))
  end)
end)

describe("a table of a frame", function()
  local VALUES = {
    {}, {1, 2, 3}, {a = 1}, {[0] = 1, 2}, {1, 2, x = 3}, {1.5, -2, 2 ^ 53, "", ("x"):rep(300)},
    {("x"):rep(191), ("x"):rep(192), ("y"):rep(8000), ("z"):rep(70000)}, {true, false, {{{}}}},
    {ffi.new("int64_t", 5), ffi.new("uint64_t", 6)},
  }
  for _, count in ipairs {0xdf, 0xe0, 0xe1, 0x1ffe, 0x1fff, 0x20df, 0x20e0, 0x20e1, 70000} do
    local list, set = {}, {}
    for i = 1, count do
      list[i] = i
      set["k" .. i] = i % 2 == 0
    end
    VALUES[#VALUES + 1], VALUES[#VALUES + 2] = list, set
  end

  it("is read as it was written, behind any offset", function()
    for _, value in ipairs(VALUES) do
      local bytes = buffer.encode(value)
      assert.same(value, frame.decode(bytes, 0))
      assert.same(value, frame.decode(("h"):rep(16) .. bytes, 16))
    end
  end)

  it("that is cut off, or is followed by something, is none", function()
    local bytes = buffer.encode {1.5, "text", {a = {1, 2, true}, [7] = ("x"):rep(300)}}
    for length = 0, #bytes - 1 do
      assert.is_false((pcall(frame.decode, bytes:sub(1, length), 0)))
    end
    assert.is_false((pcall(frame.decode, bytes .. "\0", 0)))
    assert.is_false((pcall(frame.decode, buffer.encode(1.5) .. "\255\255", 0)))
    assert.is_false((pcall(frame.decode, "\255\1\0\0\0", 0))) -- a length below 0
  end)

  -- A bound on each alone is not enough: tables are in tables.
  it("that says it holds more than there is costs no memory", function()
    local huge = {}
    for tag = 0, 31 do
      local head = string.char(tag) .. "\255\255\255\255\3"
      huge[#huge + 1] = head .. "\255\255\255\255\3"
      huge[#huge + 1] = head .. ("\1"):rep(1000)
      huge[#huge + 1] = (string.char(tag) .. "\255\0\0\1\0"):rep(90) .. ("\0"):rep(70000)
    end
    collectgarbage()
    local before = reserved()
    for _, bytes in ipairs(huge) do
      assert.is_false((pcall(frame.decode, bytes, 0)))
      assert.is_true(reserved() - before < 32 * 2 ^ 20)
    end
  end)
end)

-- Some of what the fuzzer does.
it("what engines send is read, or refused, at little cost", function()
  for seed = 1, 3 do assert(loadfile "spec/fuzz/frame.lua")(1000, seed, true) end
end)
