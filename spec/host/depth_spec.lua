-- Recursions in which C calls Lua, and Lua C: src/host/depth.c.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local OVERFLOW = "stack overflow: C and Lua call each other too deep"

local function run(code)
  return Program.runCode([[
    local function recurse(text) return (text:gsub(".", recurse)) end
  ]] .. code)
end

describe("a recursion through C", function()
  after_each(Process.cleanUp)

  it("ends as an error", function()
    local status, out, err = run [[
      print(select(2, pcall(recurse, "a")))
      local looping = setmetatable({}, {__index = function(self, key)
        return (("a"):gsub(".", function() return self[key] end))
      end})
      print(select(2, pcall(function() return looping.x end)))
      print(("abc"):gsub(".", string.upper))
    ]]
    assert.equal(0, status, err)
    assert.same(2, select(2, out:gsub(OVERFLOW, "")), out)
    assert.matches("ABC\t3\n$", out)
  end)

  it("ends as an error in an error's handler, too, which otherwise has room", function()
    local status, out, err = run [[
      print(xpcall(recurse, function(problem) return problem:gsub("^.*: s", "handled: s") end, "a"))
      print(xpcall(recurse, function(problem) return recurse(problem) end, "a"))
    ]]
    assert.equal(0, status, err)
    assert.matches("false\thandled: " .. OVERFLOW, out, 1, true)
    assert.matches("false\terror in error handling", out, 1, true)
  end)

  it("costs a client, and no other", function()
    local status, out, err = run [[
      local sync, testing = require "sync", require "sync.testing"
      local Deep = sync.Protocol:extend("Deep")
      Deep.framing = "line"
      function Deep:onData(text) self:send(text == "deep" and recurse("a") or text) end
      local server = testing.serve(Deep)
      local bad, good = server:connect(), server:connect()
      bad:send("deep\n")
      good:send("shallow\n")
      print(bad:isOpen(), good:received())
    ]]
    assert.equal(0, status, err)
    assert.matches("false\tshallow", out, 1, true)
    assert.matches(OVERFLOW, err, 1, true)
  end)

  it("ends as an error on a thread of sync.work", function()
    local status, out, err = run [[
      local sync = require "sync"
      local function deep()
        local function again(text) return (text:gsub(".", again)) end
        return select(2, pcall(again, "a"))
      end
      sync.spawn(function() print(sync.work(deep)) sync.stop() end)
      sync.start()
    ]]
    assert.equal(0, status, err)
    assert.matches(OVERFLOW, out, 1, true)
  end)
end)
