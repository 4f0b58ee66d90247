local options = require "sync.options"
local support = require "spec.support"
local sync = require "sync"

local function problem(given, fields)
  local class = support.protocol(fields)
  local ok, message = pcall(function() sync.enable("127.0.0.1", 0, class, given) end)
  assert.is_false(ok)
  return (message:gsub("^.-: sync.enable: ", ""):gsub(class.className, "Game"))
end

describe("options", function()
  it("that are unknown are an error that names the nearest", function()
    assert.equal("unknown option maxMesage: did you mean maxMessage?",
      problem {maxMesage = 5})
    assert.equal("unknown option framming: did you mean framing?", problem {framming = "line"})
    assert.equal("unknown option idletimeout: did you mean idleTimeout?",
      problem {idletimeout = 5})
    assert.equal("unknown option max_queue: did you mean maxQueue?", problem {max_queue = 5})
  end)

  it("that are like none are an error that lists them", function()
    local message = problem {zebra = 5}
    assert.matches("^unknown option zebra: the options are .*framing.*maxQueue", message)
    assert.matches("^unknown option 1: ", problem {"line"})
  end)

  it("must be of their type", function()
    assert.matches('^option framing must be one of "raw", "null", .*, not "lines"$',
      problem {framing = "lines"})
    assert.equal('option maxMessage must be a whole number from 1 to 1073741824, not "big"',
      problem {maxMessage = "big"})
    for name, bad in pairs {
      maxMessage = 0, maxQueue = 10, highWater = -1, maxClients = 0.5, idleTimeout = 0,
      closeTimeout = -1, keepalive = 1.5, backlog = 0, overflow = "block",
      handshakeTimeout = 0 / 0, messageTimeout = math.huge, framing = 5,
      messageRate = 0, messageBurst = 0.5, onFlood = "drop",
    } do
      assert.matches("^option " .. name .. " must be ", problem {[name] = bad})
    end
  end)

  it("are checked on the class too, which is named", function()
    assert.matches('^Game.framing must be one of "raw", "null", .*, not "json"$',
      problem(nil, {framing = "json"}))
    assert.matches("^Game.maxRooms must be a whole number", problem(nil, {maxRooms = -1}))
  end)

  it("on the class are checked for upper and lower case", function()
    assert.equal("class Game sets maxmessage; did you mean maxMessage?",
      problem(nil, {maxmessage = 5}))
    assert.equal("class Game sets ondata; did you mean onData?",
      problem(nil, {ondata = function() end}))
    assert.equal("class Game sets OnConnect; did you mean onConnect?",
      problem(nil, {OnConnect = function() end}))
  end)

  it("on a class above are checked as well", function()
    local Base = support.protocol {onclose = function() end}
    local ok, message = pcall(sync.enable, "127.0.0.1", 0, support.protocol(nil, Base))
    assert.is_false(ok)
    assert.matches("class " .. Base.className .. " sets onclose; did you mean onClose%?", message)
  end)

  it("may be other fields of one's own", function()
    local class = support.protocol {lives = 3, players = {}, [7] = print, [print] = 7}
    sync.enable("127.0.0.1", 0, class):close()
  end)

  it("must be functions where they are handlers", function()
    assert.equal("Game.onData must be a function, not string", problem(nil, {onData = "echo"}))
    assert.equal("Game.onClose must be a function, not boolean", problem(nil, {onClose = true}))
  end)

  it("of the listener go before the class's", function()
    local class = support.protocol {framing = "line", maxMessage = 10}
    local settings = options.merge(class, {framing = "null"})
    assert.equal("null", settings.framing)
    assert.equal(10, settings.maxMessage)
    assert.equal(1024 * 1024, settings.maxQueue)
  end)

  it("can be turned off with false where that means something", function()
    local settings = options.merge(support.protocol(), {
      handshakeTimeout = false, messageTimeout = false, keepalive = false,
    })
    assert.is_false(settings.handshakeTimeout)
    assert.matches("^option closeTimeout must be", problem {closeTimeout = false})
    assert.matches("^option maxQueue must be", problem {maxQueue = false})
  end)

  it("must fit together", function()
    assert.equal("highWater (5000) is above maxQueue (4000)",
      problem {highWater = 5000, maxQueue = 4000})
  end)

  it("that belong to the class alone say so", function()
    assert.equal("unknown option maxRooms: it can only be set on the class",
      problem {maxRooms = 5})
  end)

  it("must be a table", function()
    assert.equal("options must be a table, not string", problem("line"))
  end)
end)
