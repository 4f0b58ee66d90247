local Process = require "spec.support.process"
local Program = require "spec.support.program"

-- Classes whose clients send many messages, without sockets; what the report says of them.
local DRIVER = [[
  local sync, testing = require "sync", require "sync.testing"
  local Hot = sync.Protocol:extend("Hot")
  function Hot:onData(data)
    self.total = (self.total or 0) + #data
  end
  local Closing = sync.Protocol:extend("Closing")
  function Closing:onData(data)
    local length = function() return #data end
    self.total = (self.total or 0) + length()
  end
  local Cold = sync.Protocol:extend("Cold")
  function Cold:onData() end
  local Cutting = sync.Protocol:extend("Cutting")
  function Cutting:onData(data)
    for word in data:gmatch("%a+") do self.last = word end
  end
  local Formatting = sync.Protocol:extend("Formatting")
  function Formatting:onData(data)
    self.last = ("%s %d %s"):format(data, #data, self.clients)
  end
  local Looping = sync.Protocol:extend("Looping")
  function Looping:onData(data)
    local length, sum = function() return #data end, 0
    for i = 1, 100 do sum = sum + i end
    self.sum = sum + length()
  end
  local Ending = sync.Protocol:extend("Ending")
  function Ending:onData(data)
    local sum = #data
    for i = 1, 100 do sum = sum + i end
    self.sum = function() return sum end
  end
  local Nested = sync.Protocol:extend("Nested")
  function Nested:onData(data)
    local sum = #data
    for i = 1, 100 do sum = sum + i end
    for i = 1, 100 do sum = sum - i end
    self.sum = sum
  end
  local function drive(class, messages)
    class.framing = "line"
    sync.enable("127.0.0.1", 0, class):close() -- gives it a place in the report
    local client = testing.serve(class):connect()
    for i = 1, messages do client:send(("x\n"):rep(100)) end
  end
]]

local function report(code)
  local status, out, err = Program.runCode(DRIVER .. code)
  assert.equal(0, status, err)
  return out
end

local DRIVE_ALL = "for _, class in ipairs {Hot, Closing, Cutting, Formatting, Looping, Ending, " ..
  "Nested} do drive(class, 500) end drive(Cold, 0) "

-- What is said of one handler: its line and those below it.
local function said(text, name)
  local lines
  for line in text:gmatch("[^\n]+") do
    if line:find("^  " .. name .. "[%s%(]") then
      lines = line
    elseif lines and line:find("^    ") then
      lines = lines .. "\n" .. line
    elseif lines then
      break
    end
  end
  return lines or ("nothing is said of %s in:\n%s"):format(name, text)
end

describe("jit", function()
  after_each(Process.cleanUp)

  local watched
  local function whenWatched()
    watched = watched or report("sync.jit.watch() " .. DRIVE_ALL .. "print(sync.jit.report())")
    return watched
  end

  it("reports that a hot handler is native code", function()
    local text = said(whenWatched(), "Hot:onData")
    assert.matches("^  Hot:onData%s+native code", text)
    assert.matches("%[[^%s]+:3%]", text)
  end)

  it("reports where and why one that makes a closure for each message is not", function()
    local text = said(whenWatched(), "Closing:onData")
    assert.matches("^  Closing:onData%s+interpreted", text)
    assert.matches(":8: bytecode FNEW is not compiled, %d+ times; it makes a function; " ..
      "make that once, outside", text)
  end)

  it("reports what a handler calls that is not compiled", function()
    local stitched = report("sync.jit.stitch() sync.jit.watch() " .. DRIVE_ALL ..
      "print(sync.jit.report())")
    for state, all in pairs {interpreted = whenWatched(), ["native code in part"] = stitched} do
      local text = said(all, "Cutting:onData")
      assert.matches("^  Cutting:onData%s+" .. state, text)
      assert.matches(":15: .*it calls string.gmatch, which is not compiled", text)
      assert.is_nil(text:find("gmatch_aux", 1, true))
      text = said(all, "Formatting:onData")
      assert.matches("^  Formatting:onData%s+" .. state, text)
      assert.matches(":19: .*it calls string.format with more than strings and numbers", text)
    end
  end)

  it("reports where a loop alone, or all but the end, is native code", function()
    assert.matches("^  Looping:onData%s+native code in a loop alone",
      said(whenWatched(), "Looping:onData"))
    local text = said(whenWatched(), "Ending:onData")
    assert.matches("^  Ending:onData%s+native code in part", text)
    assert.matches(":31: bytecode FNEW is not compiled", text)
    assert.matches("^  Nested:onData%s+native code  %[", (said(whenWatched(), "Nested:onData")
      :gsub(" %(%d+ %% of its time%)", "")))
  end)

  it("reports that a handler was hardly called", function()
    assert.matches("interpreted: it was not called often enough",
      said(whenWatched(), "Cold:onData"))
  end)

  it("gives its report as a table too", function()
    local out = report("sync.jit.watch() " .. DRIVE_ALL .. [[
      for _, entry in ipairs(sync.jit.report()) do
        print(entry.name, entry.where, entry.state, #entry.aborts)
        for _, abort in ipairs(entry.aborts) do print(abort.where, abort.reason, abort.count) end
      end
    ]])
    assert.matches("Hot:onData\t[^\t]+:3\tnative code[^\t]*\t%d+\n", out)
    assert.matches("Closing:onData\t[^\t]+:7\tinterpreted[^\t]*\t[1-9]", out)
    assert.matches(":8\tbytecode FNEW is not compiled\t%d+", out)
  end)

  it("says when nobody watched", function()
    assert.matches("^sync.jit.watch%(%) was not called",
      report("drive(Hot, 10) print(sync.jit.report())"))
  end)

  it("can be off, and on again", function()
    local out = report([[
      sync.jit.watch()
      print(sync.jit.isOn())
      sync.jit.off()
      print(sync.jit.isOn(), jit.status() == false)
      drive(Hot, 100)
      print(sync.jit.report())
      sync.jit.full()
      print(sync.jit.isOn())
      drive(Hot, 500)
      print(sync.jit.report())
    ]])
    assert.matches("^true\nfalse\ttrue\n", out)
    assert.matches("Hot:onData%s+interpreted: the compiler is off", out)
    assert.matches("\ntrue\n.*Hot:onData%s+native code", out)
  end)
end)
