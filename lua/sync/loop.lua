--- The tick loop: takes a batch of events from the C core and hands each to its handler.
--
-- The events of a tick are a loop of their own, so that LuaJIT makes a loop of what is done for a
-- message, whatever comes when it begins to compile; flush and poll are a side trace of it. A
-- pcall stands round the loop and not round each handler: a trace that began in a handler's own
-- loop can return through plain calls, but not through a pcall. After an error the loop is entered
-- again at the next event.
-- @module sync.loop

local core = require "sync.core"
local failures = require "sync.failure"
local log = require "sync.log"
local memory = require "sync.memory"
local shedding = require "sync.shedding"
local Set = require "sync.set"

local C, handle, toString = core.C, core.handle, core.string
local CONNECT, DATA = tonumber(C.SYNC_CONNECT), tonumber(C.SYNC_DATA)
local BYTES, TIMER = tonumber(C.SYNC_BYTES), tonumber(C.SYNC_TIMER)
local REQUEST, FILE = tonumber(C.SYNC_REQUEST), tonumber(C.SYNC_FILE)

local TEXT, BINARY = tonumber(C.SYNC_KIND_TEXT), tonumber(C.SYNC_KIND_BINARY)
local TURNS = tonumber(C.SYNC_KIND_TURNS)

local REASONS = {
  [tonumber(C.SYNC_BY_SERVER)] = "closed",
  [tonumber(C.SYNC_BY_ABORT)] = "aborted",
  [tonumber(C.SYNC_BY_CLIENT)] = "left",
  [tonumber(C.SYNC_RESET)] = "reset",
  [tonumber(C.SYNC_IDLE)] = "idle",
  [tonumber(C.SYNC_UNFINISHED)] = "timeout",
  [tonumber(C.SYNC_QUEUE_FULL)] = "full",
  [tonumber(C.SYNC_MESSAGE_LONG)] = "too long",
  [tonumber(C.SYNC_NO_MEMORY)] = "memory",
  [tonumber(C.SYNC_BROKE_PROTOCOL)] = "protocol",
  [tonumber(C.SYNC_NO_PONG)] = "silent",
  [tonumber(C.SYNC_REFUSED)] = "refused",
  [tonumber(C.SYNC_FLOODED)] = "flood",
  [tonumber(C.SYNC_BANNED)] = "banned",
}

-- Reasons that the operator should know of, as the log tells them.
local TROUBLE = {
  full = "client reads too slowly: its queue reached maxQueue, it was closed",
  ["too long"] = "client sent a message longer than maxMessage, it was closed",
  flood = "client sent more messages than messageRate, it was closed",
  timeout = "client did not complete a message in time, it was closed",
  memory = "memory ran out, a client was closed",
  protocol = "client broke its protocol, it was closed",
  refused = "an HTTP request came to a byte stream, its client was closed",
}

-- What completes a message of each framing.
local ENDS = {
  null = "ends with a NUL", line = "ends with a line feed", length16 = "has its length before " ..
    "it, in 2 bytes", length32 = "has its length before it, in 4 bytes",
}

local TRANSPORTS = {
  [tonumber(C.SYNC_TRANSPORT_TCP)] = "tcp",
  [tonumber(C.SYNC_TRANSPORT_UNIX)] = "unix",
  [tonumber(C.SYNC_TRANSPORT_MEMORY)] = "memory",
  [tonumber(C.SYNC_TRANSPORT_WEBSOCKET)] = "websocket",
}

local loop = {
  --- Connected clients by slot.
  clients = {},
  --- Listeners by id: tables with `class`.
  listeners = {},
  --- Timers by id: tables with `fn` and `once`.
  timers = {},
  --- Clients without a connection that may come back, as keys.
  away = {},
  --- Look-ups of names, by request: functions of addresses, or of nil and an error.
  lookups = {},
  --- Attempts to connect, by request: functions that are told an error's code and, where there
  -- is one, a message.
  attempts = {},
  --- Functions by signal number.
  signals = {},
  running = false,
  count = 0, -- connected clients
  links = 0, -- of which are connections to other nodes
  waiting = 0, -- functions of clients that wait
  between = false, -- or a function that is called between two ticks, when all else was done
  --- The exit code of a worker that was told to stop: as by SIGTERM's default.
  TOLD = 128 + 15,
  --- The exit code of the program, when the script has come to its end.
  exitCode = 0,
}

local clients, timers = loop.clients, loop.timers
local batch = 0             -- events that this tick has; handle.cursor is the next one
local isBetween = false     -- ticks: no event is being handled
local stopping = false
local deadline              -- the timer that ends a stop that takes too long
local isLate = false        -- it has
local nextId = 0
local byId                  -- clients, once somebody has looked for one
local firing                -- the timer whose function was called last
local isApart = false       -- the loop runs apart: see `loop.runApart`
local isEarly = false       -- timers that are started now fire meanwhile
local putOff = {}           -- timers and signals that have waited: {function, value}

--- Gives a client a connection.
function loop.seat(client, slot)
  clients[slot] = client
  C.sync_name(handle, slot, client.id)
end

-- Makes a connection a client. A WebSocket's handshake is its request.
local function connected(slot, listener, request)
  local address, port = core.peer(slot)
  nextId = nextId + 1
  local client = listener.class:new {
    slot = slot,     -- 0 when the client has gone
    closing = false, -- or the reason; set, so that a look-up doesn't go on to the class
    id = nextId,
    address = address,
    port = port,
    transport = TRANSPORTS[C.sync_transport(handle, slot)],
  }
  loop.seat(client, slot)
  if byId then byId[nextId] = client end
  loop.count = loop.count + 1
  if client.isLink then loop.links = loop.links + 1 end
  if client.auth and not client:recognize(request) then
    client._isAtDoor = true
    client:knock(listener)
  else
    loop.letIn(client, listener, request)
  end
  memory.consider()
end
loop.connect = connected

--- A connection is a client of its class from now on.
function loop.letIn(client, listener, request)
  if client._isAtDoor then client._isAtDoor = nil end
  client.clients:add(client)
  client:begin(listener)
  if stopping and not client.isLink then
    client:close("stop")
  elseif listener.isDraining then
    client:close("drain")
  else
    client:onConnect(request)
  end
end

--- Makes a connection of the process before the client that it was: `onConnect` isn't called.
-- @tparam number slot
-- @tparam sync.Listener listener
-- @tparam number id
-- @tparam[opt] table told `address`, `port` and `transport`, where they are known
-- @treturn table
function loop.adopt(slot, listener, id, told)
  local client = listener.class:new {slot = slot, closing = false, id = id}
  if told then
    client.address, client.port, client.transport = told.address, told.port, told.transport
  else
    client.address, client.port = core.peer(slot)
    client.transport = TRANSPORTS[C.sync_transport(handle, slot)]
  end
  loop.seat(client, slot)
  if byId then byId[id] = client end
  loop.count = loop.count + 1
  if client.isLink then loop.links = loop.links + 1 end
  loop.continueFrom(id)
  return client
end

--- A client is another process's: it goes from here without a word.
function loop.release(client)
  clients[client.slot] = nil
  if byId then byId[client.id] = nil end
  loop.count = loop.count - 1
  if client.isLink then loop.links = loop.links - 1 end
  client.slot, client.closing = 0, "upgraded"
end

--- The id of the last client.
function loop.lastId() return nextId end

--- Clients that come have ids behind that one.
function loop.continueFrom(id)
  nextId = math.max(nextId, id)
end

--- Clients that come have the ids behind `id`.
function loop.firstId(id)
  nextId = id + nextId % 2 ^ 32
end

--- The client of an id, connected or away.
function loop.find(id)
  if not byId then
    byId = {}
    for _, client in pairs(clients) do byId[client.id] = client end
    for client in pairs(loop.away) do byId[client.id] = client end
  end
  return byId[id]
end

--- Who has caused the event that is handled: the client of a message, the listener of an HTTP
-- request, which has no client.
-- @treturn table|nil nil for nobody's, as a timer's
function loop.cause()
  local event = handle.cursor > 0 and handle.events[handle.cursor - 1]
  if not event then return nil end
  if event.type == REQUEST then return loop.listeners[C.sync_listener_of(handle, event.id)] end
  local client = (event.type == DATA or event.type == BYTES or event.type == CONNECT) and
    clients[event.id]
  return client and not client.isLink and client or nil
end

-- Apart from its caller: pairs isn't compiled, and most clients are in no room.
local function leaveAll(client, rooms)
  for name in pairs(rooms) do client:leave(name) end
end

-- The client has gone for good. Functions of it that wait come to their end first, and then one
-- of onClose that does: `loop.settled` comes back here. An error in onClose keeps nothing else
-- from ending.
local function closed(client, reason, code)
  if byId then byId[client.id] = nil end
  if client._isAtDoor then return end -- its class has never heard of it
  if client._underWay > 0 then
    client._departure = {reason, code}
    client:loseAnswers()
    return
  end
  local ok, err = xpcall(client.onClose, failures.trace, client, reason, code)
  if client._underWay > 0 then
    client._departure = "told"
  else
    client:finish()
  end
  if ok then return end
  local what = "onClose of " .. getmetatable(client).className
  log.limited("error", what, ("error in %s: %s"):format(what, tostring(err)), {client = client.id})
end
loop.closed = closed

--- No function of a client waits any more.
function loop.settled(client)
  local departure = client._departure
  if not departure then return end
  client._departure = false
  if departure == "told" then return client:finish() end
  closed(client, departure[1], departure[2])
end

-- What the log says of a client that went in trouble; of a message that never ended how it ends.
local function troubleOf(client, reason)
  local trouble = TROUBLE[reason]
  local listener = reason == "timeout" and client.transport ~= "websocket" and
    loop.listeners[C.sync_listener_of(handle, client.slot)]
  local framing = listener and listener.settings.framing
  if not ENDS[framing] then return trouble end
  return ('%s; by framing = "%s" a message %s'):format(trouble, framing, ENDS[framing])
end

local function disconnected(slot, code)
  local client = clients[slot]
  if not client then return end
  local wanted = client.closing -- this side's reason
  local reason = wanted or REASONS[code]
  if not wanted and client:suspend(reason, client.transport == "websocket" and
    C.sync_close_code(handle, slot) or nil) then
    clients[slot] = nil
    loop.count = loop.count - 1
    return
  end
  local closeCode = client.transport == "websocket" and C.sync_close_code(handle, slot) or nil
  clients[slot] = nil
  loop.count = loop.count - 1
  if client.isLink then loop.links = loop.links - 1 end
  client.clients:remove(client)
  local joined = client.joined
  if joined then leaveAll(client, joined.rooms) end
  if client._membership then client._membership:part() end
  local trouble = not wanted and troubleOf(client, reason)
  client.slot = 0
  client.closing = reason
  if trouble then
    log.limited("warn", reason, trouble,
      {client = client.id, address = client.address, protocol = getmetatable(client).className})
  end
  memory.consider()
  closed(client, reason, closeCode)
end

-- Takes the connection away from a client whose place another takes.
function loop.detach(client)
  clients[client.slot] = nil
  loop.count = loop.count - 1
  C.sync_abort(handle, client.slot)
end

local function fired(id, late)
  local timer = timers[id]
  if not timer then return end
  if timer.once then
    timers[id] = nil
    timer.id = false
  end
  if isApart and not timer.isEarly then
    if not timer.isPutOff then
      timer.isPutOff = true
      putOff[#putOff + 1] = {timer = timer, value = late / 1e6}
    end
    return
  end
  firing = timer
  timer.fn(late / 1e6)
end

local function resolved(event)
  local done = loop.lookups[event.id]
  loop.lookups[event.id] = nil
  if event.value ~= 0 then
    local name, text = core.problem(-event.value)
    done(nil, name .. ": " .. text)
    return
  end
  local addresses = {}
  for address in toString(event.data, event.length):gmatch("[^\n]+") do
    addresses[#addresses + 1] = address
  end
  done(addresses)
end

local function noticed(event)
  local id, what = event.id, event.value
  if what == C.SYNC_MEMORY_HIGH then return shedding.reached() end
  local listener = loop.listeners[id]
  local where = {listener = listener and tostring(listener)}
  if what == C.SYNC_ACCEPT_PAUSED then
    log.limited("warn", "accept paused", "as many clients as may connect are connected; " ..
      "more wait to be accepted (maxClients, or the file limit: ulimit -n)", where)
  elseif what == C.SYNC_ACCEPT_FULL then
    log.limited("warn", "full", "as many clients as this process may have are connected " ..
      "(the file limit: ulimit -n); others are refused, but for /healthz, /metrics and /panel",
      where)
  elseif what == C.SYNC_ACCEPT_RESUMED then
    log.limited("info", "accept resumed", "accepting clients again", where)
  elseif what == C.SYNC_ACCEPT_FILES then
    log.limited("error", "no files", "no file is left to accept a client with: raise the " ..
      "limit (ulimit -n, LimitNOFILE=), or close files; waiting clients are tried again", where)
  elseif what == C.SYNC_ADDRESS_FULL then
    where.address = toString(event.data, event.length)
    log.limited("warn", "address full", "one address has as many connections as it may; more " ..
      "of it are refused, without a line each (maxPerAddress)", where)
  elseif what == C.SYNC_PROXY_FAILED then
    log.limited("warn", "proxy", "a proxy's connection was refused: " ..
      toString(event.data, event.length), where)
  elseif what == C.SYNC_TLS_FAILED then
    log.limited("info", "tls", "a client's TLS handshake failed: " ..
      toString(event.data, event.length), where)
  elseif what == C.SYNC_ACCEPT_FAILED then
    log.limited("error", "accept failed", "a client could not be accepted; trying again", where)
  end
end

-- Handlers of events, by type. Messages have none: the loop calls their clients itself.
local on = {}

--- Hands each event of a type to a function, too.
-- @param type of `enum sync_event_type`
-- @tparam function fn called with the event, which lives until the tick ends
function loop.on(type, fn)
  type = tonumber(type)
  local before = on[type]
  on[type] = before and function(event)
    before(event)
    fn(event)
  end or fn
end

loop.on(C.SYNC_TIMER, function(event) fired(event.id, event.value) end)

loop.on(C.SYNC_CONNECT, function(event) connected(event.id, loop.listeners[event.value]) end)

loop.on(C.SYNC_CLOSE, function(event) disconnected(event.id, event.value) end)

loop.on(C.SYNC_DRAIN, function(event)
  local client = clients[event.id]
  if client and not client.closing then client:onDrain(event.value) end
end)

loop.on(C.SYNC_OVERFLOW, function(event)
  local client = clients[event.id]
  log.limited("warn", "dropped", "client reads too slowly: its queue reached maxQueue, " ..
    "messages to it are dropped", {client = client and client.id})
end)

loop.on(C.SYNC_SIGNAL, function(event)
  local fn = loop.signals[event.id] -- nil when the signal was given back in this tick
  if not fn then return end
  if isApart then putOff[#putOff + 1] = {fn = fn, value = event.id} else fn(event.id) end
end)

loop.on(C.SYNC_RESOLVED, resolved)

loop.on(C.SYNC_CONNECT_FAILED, function(event)
  local failed = loop.attempts[event.id]
  loop.attempts[event.id] = nil
  if failed then failed(-event.value, event.length > 0 and toString(event.data, event.length)) end
end)

loop.on(C.SYNC_NOTICE, noticed)

loop.on(C.SYNC_FREED, function(event) memory.freed(event.value * 1024) end)

local function dispatch(event)
  local act = on[event.type]
  if act then act(event) end
end

-- Functions that are called once, when this tick ends.
local last = {}

--- Calls a function when this tick ends; once, however often it was handed over.
function loop.atEnd(fn)
  for i = 1, #last do
    if last[i] == fn then return end
  end
  last[#last + 1] = fn
end

-- Logs an error that is no client's.
local function nobodysFailed(what, failure)
  log.limited("error", "error in " .. what, ("error in %s, no client is closed: %s"):format(what,
    failures.describe(failure.raised)), {traceback = failure.traceback})
end

--- Calls a function that runs for no client, so that its error ends nothing else.
-- @tparam string what the function's name in the log
-- @tparam function fn
function loop.guard(what, fn, ...)
  local ok, failure = xpcall(fn, failures.catch, ...)
  if not ok then nobodysFailed(what, failure) end
end

local function doLast()
  local list = last
  last = {}
  for _, fn in ipairs(list) do loop.guard("what ends a tick", fn) end
end

local function endTick()
  if last[1] then doLast() end
  if Set.needsEndTick() then Set.endTick() end
  if loop.between then loop.between() end
  C.sync_flush_with_poll(handle)
end

local lastWords = {}

--- Calls a function once when the loop stops: when all clients have gone, and before the
-- links to other nodes go.
function loop.beforeLinksClose(fn)
  lastWords[#lastWords + 1] = fn
end

-- While the loop stops: the links to other nodes go last, for other nodes may have to be told
-- what clients do when they go.
local function closeLinks()
  if loop.count > loop.links or handle.http_count > 0 or loop.waiting > 0 and not isLate then
    return
  end
  local list = lastWords
  lastWords = {}
  for _, fn in ipairs(list) do fn() end
  for _, client in pairs(clients) do
    if not client.closing then client:close("stop") end
  end
end

--- The timer whose function runs, or nil.
function loop.firing()
  local event = loop.running and not isBetween and handle.cursor > 0 and
    handle.events[handle.cursor - 1]
  return event and event.type == TIMER and firing or nil
end

local hasPolled = false -- since it runs: something could happen

-- The kind of a message that has one. From now on its client is sent the same.
local function kindOf(slot, value)
  if value == TEXT then return "text" end
  if value == BINARY then return "binary" end
  C.sync_turn(handle, slot, value - TURNS)
  return value - TURNS == TEXT and "text" or "binary"
end

-- Handles `ticks` ticks, or ends when nothing is left that could happen.
local function run(ticks, block)
  while true do
    for i = handle.cursor, batch - 1 do
      local event = handle.events[i]
      handle.cursor = i + 1
      if event.type == DATA then
        local client = clients[event.id]
        if client and not client.closing then -- nil for a client that was detached in this tick
          local kind
          if event.value ~= 0 then kind = kindOf(event.id, event.value) end
          client:onData(toString(event.data, event.length), kind)
        end
      elseif event.type == BYTES then -- the same, but nothing is made of the bytes
        local client = clients[event.id]
        if client and not client.closing then
          local kind
          if event.value ~= 0 then kind = kindOf(event.id, event.value) end
          client:onBytes(event.bytes, event.length, kind)
        end
      else
        dispatch(event)
      end
    end
    isBetween = true
    if stopping then closeLinks() end
    endTick()
    if ticks == 0 or stopping and loop.count == 0 and handle.http_count == 0 and
      handle.relay_count == 0 and (loop.waiting == 0 or isLate) then
      C.sync_flush(handle) -- no poll follows
      return
    end
    ticks = ticks - 1
    batch = C.sync_poll(handle, block)
    if batch < 0 then return end
    isBetween, hasPolled = false, true
  end
end

-- Handlers of events that are no client's, as the log calls them.
local NOBODYS = {
  [tonumber(C.SYNC_TIMER)] = "a timer",
  [tonumber(C.SYNC_SIGNAL)] = "a signal's handler",
  [tonumber(C.SYNC_RESOLVED)] = "a name look-up's answer",
  [tonumber(C.SYNC_CONNECT_FAILED)] = "a connection's answer",
  [tonumber(C.SYNC_EXITED)] = "the end of a worker",
  [tonumber(C.SYNC_JOB)] = "the end of a job",
  [tonumber(C.SYNC_WATCH)] = "a watched descriptor",
  [tonumber(C.SYNC_CLOSE)] = "the end of a client",
  [tonumber(C.SYNC_NOTICE)] = "a notice",
}

--- A handler of a client has raised an error: the client is closed.
-- @tparam table client
-- @tparam table failure as failure.catch makes it
local function clientFailed(client, failure)
  local class = getmetatable(client).className -- the instance's own name is the user's
  log.limited("error", "handler of " .. class, "error in a handler, its client is closed: " ..
    failures.describe(failure.raised, client),
    {client = client.id, address = client.address, traceback = failure.traceback})
  local ok, err = pcall(client.onError, client, failure.raised)
  if not ok then
    log.limited("error", "onError of " .. class, "error in onError: " .. failures.describe(err))
  end
  client:close("error")
end

loop.failed = clientFailed

-- The event whose handler raised an error is the one before the cursor.
local function handlerFailed(failure)
  if isBetween then return nobodysFailed("what ends a tick", failure) end
  local event = handle.events[handle.cursor - 1]
  local what = NOBODYS[event.type]
  if what then return nobodysFailed(what, failure) end
  local client = clients[event.id]
  if client then return clientFailed(client, failure) end
  if event.type == REQUEST or event.type == FILE then C.sync_abort(handle, event.id) end
  nobodysFailed("a handler", failure)
end

local function runGuarded(ticks, block)
  loop.running = true
  handle.cursor, batch = 0, 0
  repeat
    local ok, failure = xpcall(run, failures.catch, ticks, block)
    if not ok then
      handlerFailed(failure)
      if ticks < math.huge then ticks = 0 end -- the rest of the batch, and no other
    end
  until ok
  loop.running = false
end

--- Runs the loop until `loop.stop`, or until nothing is left that could happen.
-- @treturn boolean whether anything could from the beginning, or it was stopped
function loop.run()
  hasPolled = false
  runGuarded(math.huge, 1)
  local hadWork = hasPolled or stopping
  stopping, isLate = false, false
  if deadline then loop.stopTimer(deadline) end
  return hadWork
end

--- Handles one batch, without waiting for one. For tests.
-- @treturn number how many events there were
function loop.step()
  if loop.running then error("sync: the loop is running already", 2) end
  runGuarded(1, 0)
  return math.max(0, batch)
end

--- Runs the loop for connections: between two ticks, or before it runs. Timers and signals wait
-- for `loop.catchUp`, but for timers that begin in it, or in `loop.early`.
-- @tparam function isDone looked at between its ticks: it ends when that is true
-- @tparam number seconds that it takes at most
-- @treturn boolean whether it's done
function loop.runApart(isDone, seconds)
  local wasRunning, due = loop.running, C.sync_now() + seconds
  local wasEarly = isEarly
  isApart, isEarly = true, true
  local alarm = loop.startTimer(seconds, 0, function() end)
  while not isDone() and C.sync_now() < due do runGuarded(1, 1) end
  loop.stopTimer(alarm)
  isApart, isEarly, isBetween = false, wasEarly, true
  loop.running = wasRunning
  return isDone()
end

--- Calls a function whose timers also fire while the loop runs apart.
-- @return what it returns
function loop.early(fn, ...)
  isEarly = true
  local result, problem = fn(...)
  isEarly = false
  return result, problem
end

--- What has waited while the loop ran apart happens now.
function loop.catchUp()
  local list = putOff
  putOff = {}
  for _, each in ipairs(list) do
    local timer = each.timer
    if not timer then
      loop.guard("a signal's handler", each.fn, each.value)
    elseif timer.isPutOff then -- nobody has stopped it
      timer.isPutOff = nil
      loop.guard("a timer", timer.fn, each.value)
    end
  end
end

--- Whether `loop.stop` was called and clients are still on their way out.
function loop.isStopping()
  return stopping
end

--- Closes all clients, and ends the loop when they have gone, or after `seconds`.
function loop.stop(seconds)
  if stopping then return end
  stopping = true
  for _, client in pairs(clients) do
    if not client.isLink then client:close("stop") end
  end
  for client in pairs(loop.away) do client:close("stop") end
  C.sync_close_idle(handle, 0)
  deadline = loop.startTimer(seconds, 0, function()
    isLate = true
    for _, client in pairs(clients) do client:abort() end
    C.sync_close_idle(handle, 1)
  end)
end

--- Starts a timer.
-- @tparam number delay seconds
-- @tparam number interval seconds, 0 for once
-- @tparam function fn called with the seconds that the timer is late
-- @treturn table
function loop.startTimer(delay, interval, fn)
  local id = C.sync_timer_start(handle, delay * 1000, interval * 1000)
  if id < 0 then error("timer: " .. select(2, core.problem(id)), 2) end
  local timer = {id = id, fn = fn, once = interval == 0, isEarly = isEarly}
  timers[id] = timer
  return timer
end

--- Stops all timers.
function loop.stopTimers()
  local list = {}
  putOff = {}
  for _, timer in pairs(timers) do list[#list + 1] = timer end
  for _, timer in ipairs(list) do loop.stopTimer(timer) end
end

function loop.stopTimer(timer)
  if timer.isPutOff then timer.isPutOff = nil end
  if timer.id then
    timers[timer.id] = nil
    C.sync_timer_stop(handle, timer.id)
    timer.id = false
  end
end

shedding.watch(loop)
memory.watch(loop)

return loop
