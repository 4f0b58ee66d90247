-- Central with the names of examples/accounts.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local support = require "spec.support"
local sync = require "sync"
local task = require "sync.task"

local SECRET = ("s"):rep(32)

local function inTask(fn)
  local ok, result
  sync.spawn(function() ok, result = pcall(fn) end)
  support.wait(function() return ok ~= nil end)
  assert(ok, result)
end

describe("Central", function()
  it("takes names from accounts, by their token, and keeps them from others", function()
    local file = Process.file()
    local server = Process.start {"env", "ACCOUNTS_DB=sqlite:" .. file,
      "ACCOUNTS_SECRET=" .. SECRET, "CENTRAL_HOST=127.0.0.1", "CENTRAL_PORT=0", Program.path,
      "examples/central/main.lua"}
    local port = server:expect("stderr", "Central listens on 127.0.0.1:(%d+)")
    local client = sync.connect("tcp://127.0.0.1:" .. port)

    local function join(options)
      options.room = "lobby"
      local room, err = client:join("Central", options)
      if not room then return nil, err.code end
      task.await(function(resume)
        local stop
        stop = room:onPatch(function()
          stop()
          resume()
        end)
      end)
      return room, room.state.people[room.member].name
    end

    inTask(function()
      local url = ("http://127.0.0.1:%s/signup"):format(port)
      local answer = sync.http {url = url, json = {name = "Ann", password = "correct horse"}}
      assert.equal(200, answer.status)
      local room, name = join {name = "somebody", token = answer:json().token}
      assert.equal("Ann", name)
      room:leave(function() end)
      -- The other example's tokens are the same.
      local token = sync.jwt.sign({sub = "ann"}, {algorithm = "HS256", key = SECRET, expires = 60})
      room, name = join {token = token}
      assert.equal("Ann", name)
      room:leave(function() end)
      assert.same({nil, 6}, {join {name = "ANN"}})
      assert.same({nil, 6}, {join {name = "Ann", token = token .. "x"}})
      local other = sync.jwt.sign({sub = "ann"}, {algorithm = "HS256", key = ("t"):rep(32)})
      assert.same({nil, 6}, {join {token = other}})
      room, name = join {name = "Bob"}
      assert.equal("Bob", name)
      local _, err = room:call("rename", "ann")
      assert.equal(6, err.code)
      assert.is_nil((select(2, room:call("rename", "Bert"))))
    end)
    client:close()
    server:kill "INT"
    assert.equal(0, (server:wait()))
    for _, ending in ipairs {"", "-wal", "-shm"} do os.remove(file .. ending) end
  end)
end)
