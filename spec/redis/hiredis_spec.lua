-- Replies of Redis, and of what takes its place.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local hiredis = require "sync.redis.hiredis"

assert(hiredis.load())

-- Feeds a reader with pieces of a size. Returns all that it reads, and what is wrong.
local function read(text, size)
  local reader, list = hiredis.reader(2), {}
  for at = 1, #text, size do
    local fed, problem = reader:feed(text:sub(at, at + size - 1))
    if not fed then
      reader:close()
      return list, problem
    end
    for kind, value, bytes in function() return reader:next() end do
      list[#list + 1] = {kind, value, bytes}
      if kind == "broken" then
        reader:close()
        return list, value
      end
    end
  end
  reader:close()
  return list
end

describe("the reader of Redis' replies", function()
  it("takes them in pieces of any size", function()
    local bulk = "*2147483647\r\n$9999999999\r\n\r\r\n\0"
    local text = "+OK\r\n-ERR a\nb\rc\r\n:-7\r\n$-1\r\n$0\r\n\r\n*0\r\n*-1\r\n" ..
      ("*3\r\n$7\r\nmessage\r\n$5\r\np:top\r\n$%d\r\n%s\r\n"):format(#bulk, bulk) ..
      ("*2\r\n*2\r\n:1\r\n$2\r\nab\r\n$%d\r\n%s\r\n"):format(#bulk, bulk)
    local wanted = {{"value", "OK"}, {"error", "ERR a\nb\rc"}, {"value", -7}, {"value"},
      {"value", ""}, {"value", {}}, {"value"}, {"message", "top", bulk},
      {"value", {{1, "ab"}, bulk}}}
    for size = 1, #text do assert.same(wanted, (read(text, size))) end
  end)

  -- hiredis makes an array before there is anything in it.
  it("refuses what is said to be too large, at no cost", function()
    local function heap() return tonumber(io.open("/proc/self/statm"):read "*n") * 4096 end
    local before = heap()
    for _, text in ipairs {
      "*2147483647\r\n", "*100001\r\n", "*2\r\n:1\r\n*2147483647\r\n", "*1e9\r\n",
      "*1\r\n*1\r\n*1\r\n*1\r\n*1\r\n*2147483647\r\n", "%2147483647\r\n", "~2147483647\r\n",
      ">2147483647\r\n", "$67108865\r\n", "$x\r\n", "+" .. ("x"):rep(8193),
      "*3\r\n$7\r\nmessage\r\n$5\r\np:top\r\n$3\r\nabc\r\n*2147483647\r\n",
    } do
      for _, size in ipairs {1, 7, #text} do
        local begun = os.clock()
        local _, problem = read(text, size)
        assert.is_string(problem, text:sub(1, 40))
        assert.is_true(os.clock() - begun < 1)
      end
    end
    assert.is_true(heap() - before < 16 * 2 ^ 20)
  end)

  it("takes as many entries as are read at once", function()
    local entry = "*2\r\n$3\r\n1-1\r\n*2\r\n$1\r\nb\r\n$2\r\nxy\r\n"
    local list = read("*1000\r\n" .. entry:rep(1000), 65536)
    assert.equal(1000, #list[1][2])
    assert.same({"1-1", {"b", "xy"}}, list[1][2][1000])
  end)
end)

describe("an engine whose Redis says too much", function()
  it("goes away from it, and says why", function()
    local code = [[
      local sync, log = require "sync", require "sync.log"
      local Bad = sync.Protocol:extend("Bad")
      function Bad:onData() self:send("*2147483647\r\n") end
      Bad.transports = {"tcp"}
      local listener = sync.enable("127.0.0.1", 0, Bad)
      local url = "redis://127.0.0.1:" .. listener.port
      local engine = assert(require "sync.cluster.redis".open(url, {
        onMessage = function() end, onDown = function(why) print(why) sync.stop(0) end}))
      sync.start()
    ]]
    local process = Program.start(Process.file(code))
    process:closeInput()
    assert.equal(0, process:wait())
    assert.matches("a length or a count is too large: %*2147483647", process:stdout())
  end)
end)
