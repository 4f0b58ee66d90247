-- Functions of a room that wait, by sync.waits.

local json = require "sync.remoting.json"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"
local testing = require "sync.testing"

describe("a function of a room that waits", function()
  after_each(support.cleanUp)

  it("answers the member's client when it has ended", function()
    local resume
    local Arena = sync.Room:extend("WaitingArena")
    Arena.state = sync.state {phase = "string"}
    Arena.remote.ask = sync.waits(function(room, member, word)
      local more = task.await(function(go) resume = go end)
      return word .. more .. (room:member(member.id) == member and " here" or "")
    end)
    Arena.remote.fast = function() return "fast" end
    local Game = support.protocol({framing = "line", rooms = {Arena}}, sync.Remote)
    local ann = support.connect(Game)
    local function call(id, method, params)
      ann:send(json.encode {jsonrpc = "2.0", id = id, method = method, params = params} .. "\n")
    end
    local function answers()
      local all = {}
      for line in ann:received():gmatch "[^\n]+" do
        local _, message = json.decode(line, 20)
        if message.id then all[message.id] = message.result or message.error.code end
      end
      return all
    end
    call(1, "sync.join", {room = "WaitingArena", form = "json"})
    local number = answers()[1].room
    call(2, "sync.call", {room = number, method = "ask", params = {"a"}})
    call(3, "sync.call", {room = number, method = "fast", params = {}})
    assert.same({[3] = "fast"}, answers())
    resume "b"
    testing.settle()
    assert.same({[2] = "ab here"}, answers())
  end)
end)
