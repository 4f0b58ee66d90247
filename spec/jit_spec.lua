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

local DRIVE_ALL = "drive(Hot, 500) drive(Closing, 500) drive(Cold, 0) "

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
