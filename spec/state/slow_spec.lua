-- Members on real sockets, of which one doesn't read for a while.

local State = require "sync.state.state"
local cjson = require "cjson"
local core = require "sync.core"
local loop = require "sync.loop"
local reference = require "spec.state.reference"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

local C = core.C
local ENTITIES = 300
local MOST_PATCHES = 5000 -- many times what a kernel takes for one that doesn't read

describe("a member that doesn't read", function()
  local listener, server

  before_each(function()
    server = support.protocol {framing = "null"}
    listener = sync.enable("127.0.0.1", 0, server)
  end)

  after_each(function()
    listener:stop()
    loop.step()
  end)

  local schema = sync.state {players = sync.map {name = "string", x = "uint16"}}

  -- A client, and its member in a state.
  local function join(state)
    local slot
    function server.onConnect(client) slot = client.slot end
    local client = socket.tcp()
    client:settimeout(0)
    client:connect("127.0.0.1", listener.port)
    support.wait(function() return loop.step() and slot end)
    local number = C.sync_state_join(state.handle, C.SYNC_FORM_JSON)
    C.sync_state_connect(state.handle, number, slot)
    local joined = {state = schema:told()}
    return {socket = client, slot = slot, bytes = "", ticks = {}, join = joined,
      seen = reference.client(joined)}
  end

  local function read(member)
    while true do
      local bytes, _, part = member.socket:receive(65536)
      member.bytes = member.bytes .. (bytes or part or "")
      if not bytes then break end
    end
    local rest = 1
    for text, after in member.bytes:gmatch("(%Z*)%z()") do
      local patch = reference.fromObject(member.join, cjson.decode(text).params[1])
      reference.apply(member.seen, patch)
      member.ticks[#member.ticks + 1], rest = patch.tick, after
    end
    member.bytes = member.bytes:sub(rest)
  end

  it("has at most one patch in its queue, and then gets what is true, not what was", function()
    local state = State.new(schema, 1)
    local slow, quick = join(state), join(state)
    for id = 1, ENTITIES do state.root.players[id] = {name = ("n"):rep(50)} end
    local tick, stood, most, after = 0, 0, 0, nil
    while not after or tick < after + 50 do
      tick = tick + 1
      assert.is_true(tick < MOST_PATCHES, "nothing was left out for the one that doesn't read")
      for id, p in state.root.players:each() do p.x = (tick + id) % 60000 end
      if tick % 7 == 0 then state.root.players[tick % ENTITIES + 1] = {name = "new " .. tick} end
      local before = C.sync_queued(core.handle, slow.slot)
      stood = stood + (before > 0 and 1 or 0)
      state:patch(tick)
      local queued = C.sync_queued(core.handle, slow.slot)
      if before > 0 then assert.is_true(queued <= before, "a patch was put behind another") end
      most = math.max(most, queued)
      loop.step()
      read(quick)
      if stood == 100 then after = after or tick end
    end
    assert.is_true(most < 60 * 1024, most) -- one patch of all
    -- The one that reads misses none; what the other one gets skips those that it could not take.
    support.wait(function()
      loop.step()
      read(quick)
      return #quick.ticks == tick
    end)
    support.wait(function()
      tick = tick + 1
      state.root.players[1].x = tick
      state:patch(tick)
      loop.step()
      read(slow)
      return slow.ticks[#slow.ticks] == tick
    end)
    assert.is_true(#slow.ticks < tick - 50, #slow.ticks)
    for i = 2, #slow.ticks do assert.is_true(slow.ticks[i] > slow.ticks[i - 1]) end
    support.wait(function()
      loop.step()
      read(quick)
      return quick.ticks[#quick.ticks] == tick
    end)
    assert.same((reference.view(quick.seen)), (reference.view(slow.seen)))
    assert.equal(tick, state.root.players[1].x)
    slow.socket:close()
    quick.socket:close()
  end)
end)
