local journal = require "sync.cluster.journal"
local json = require "sync.remoting.json"
local support = require "spec.support"
local sync = require "sync"

describe("JSON on the wire", function()
  it("can be written again when it could be read", function()
    for _, text in ipairs {"1e308", "-1e308", "1e-999", "0", "-0", '"\\u0000"', '"é🎉"', "[]", "{}",
      '{"":1}', '{"1":1,"2":2}', "[null,1]", "1e309", "-1e999", "[[1e999]]", '{"a":1e400}', "NaN",
      "1" .. ("0"):rep(308), "1" .. ("0"):rep(309), ("["):rep(64) .. ("]"):rep(64),
      ("["):rep(65) .. ("]"):rep(65), '{"a":' .. ("["):rep(64) .. ("]"):rep(64) .. "}"} do
      local ok, value = json.decode(text, 1000)
      if ok then assert.is_string((json.encode(value)), text) end
    end
  end)

  it("tells nodes nothing of a value that it can't say, and the log why", function()
    assert.equal("", json.note(nil, "x"))
    assert.equal("[1]", json.note({1}, "x"))
    local cycle = {}
    cycle[1] = cycle
    for _, value in ipairs {1 / 0, 0 / 0, print, cycle, {a = {1 / 0}}} do
      local lines = support.logged(function() assert.equal("", json.note(value, "the value x")) end)
      assert.matches("the value x can't be told to other nodes: ", lines[1], 1, true)
    end
  end)

  -- It is written once a second, for all clients of the node.
  it("lets a session's other fields and rooms be kept", function()
    local class = support.protocol({resumeFields = {"nick", "speed"}}, sync.Remote)
    local client = support.connect(class).server
    client.nick, client.speed = "ann", 1 / 0
    local value = {at = 1}
    client:join("room", value)
    value.at = 0 / 0
    client:join("other", 5)
    support.logged(function()
      assert.same({nick = '"ann"'}, journal.fieldsOf(client))
      assert.same({room = "", other = "5"}, journal.roomsOf(client))
    end)
    support.cleanUp()
  end)
end)
