--- SYNC: a server framework for real-time applications.
--
--     local sync = require "sync"
--     local Echo = sync.Protocol:extend("Echo")
--     function Echo:onData(data)
--       for client in self.clients do client:send(data) end
--     end
--     sync.enable("localhost", 8080, Echo)
--     sync.start()
--
-- @module sync

local compiler = require "sync.jit" -- first: see there
local Class = require "sync.class"
local Listener = require "sync.listener"
local Timer = require "sync.timer"
local advice = require "sync.advice"
local arrival = require "sync.upgrade.arrival"
local bans = require "sync.bans"
local console = require "sync.console"
require "sync.console.web"
local core = require "sync.core"
local declared = require "sync.declared"
local door = require "sync.console.door"
local drain = require "sync.drain"
local failure = require "sync.failure"
require "sync.http" -- answers the loop's requests
local log = require "sync.log"
local loop = require "sync.loop"
local options = require "sync.options"
local panel = require "sync.http.panel"
local policies = require "sync.http.policies"
local reload = require "sync.reload"
require "sync.reload.panel"
local routes = require "sync.http.routes"
local ruffle = require "sync.flash.ruffle"
local shedding = require "sync.shedding"
local systemd = require "sync.systemd"
local task = require "sync.task"
local upgrade = require "sync.upgrade"
local versions = require "sync.versions"
local waits = require "sync.waits"
local watch = require "sync.reload.watch"
local watchdog = require "sync.watchdog"

local C, handle = core.C, core.handle

local sync = {
  --- The version of SYNC, as "0.2.0".
  version = require("sync.version"):match("%S+"),
  --- The class to extend: `sync.Protocol`.
  Protocol = require "sync.protocol",
  --- The base of all classes: `sync.Class`.
  Class = Class,
  --- The log: `sync.log`.
  log = log,
  --- LuaJIT's compiler: `sync.jit`.
  jit = compiler,
  --- `sync.after(seconds, fn)` calls fn once: `sync.Timer.after`.
  after = Timer.after,
  --- `sync.every(seconds, fn)` calls fn again and again: `sync.Timer.every`.
  every = Timer.every,
  --- Declares a function that may wait: `sync.waits`.
  waits = waits.declare,
  ban = bans.ban,
  unban = bans.unban,
  bans = bans.list,
  --- Seconds of a clock that never jumps.
  now = C.sync_now,
  --- Whether a string is valid UTF-8.
  isText = core.isText,
  --- With `--workers`: which worker this process is, from 1 on, and how many there are; nil
  -- without.
  worker = core.worker,
  workers = core.workers,
}

local STOP_SECONDS = 5
local END_SECONDS = 10 -- that a tick may take in a process that was told to stop
local ORPHAN_SECONDS = 1 -- of a worker whose parent has gone
local PARENT = 3 -- the file descriptor of a worker's connection to its parent
local SIGNALS = {HUP = 1, INT = 2, QUIT = 3, USR1 = 10, USR2 = 12, TERM = 15}

local opened = {}  -- listeners, in the order of enable
local started, stopped = false, false
local cluster      -- sync.cluster, when this process is a node
local own          -- the engine of sync.shared while it isn't

local function checkEnable(host, port, class, given)
  if type(host) ~= "string" or host == "" then
    return ("host must be a name, an address, \"*\" or \"unix:PATH\", not %s")
      :format(type(host) == "string" and "empty" or type(host))
  elseif type(port) == "string" and tonumber(port) then
    return ("port must be a number, not a string: %s instead of %q"):format(port, port)
  elseif type(port) ~= "number" or port % 1 ~= 0 or port < 0 or port > 65535 then
    return ("port must be a whole number from 0 to 65535, not %s"):format(tostring(port))
  elseif not Class.isClass(class) or not Class.is(class, sync.Protocol) or
    class == sync.Protocol then
    return ("the third argument must be a protocol class (sync.Protocol:extend(\"Name\")), " ..
      "not %s"):format(class == sync.Protocol and "sync.Protocol itself" or type(class))
  elseif given ~= nil and type(given) ~= "table" then
    return "options must be a table, not " .. type(given)
  end
end

-- Gives a class's own methods, and those of classes it extends, places in the JIT report.
local function nameHandlers(class)
  local level = class
  while level and level ~= sync.Protocol do
    local methods = {}
    for name, value in pairs(level) do
      local method = type(value) == "function" and type(name) == "string"
      if method and not name:find("^__") and value == class[name] then
        methods[#methods + 1] = name
      end
    end
    table.sort(methods)
    for _, name in ipairs(methods) do
      sync.jit.name(level.className .. ":" .. name, declared[level[name]] or level[name])
    end
    level = level.super
  end
  for name, entry in pairs(class.remote or {}) do
    local fn = type(entry) == "function" and entry or entry.fn
    sync.jit.name(("%s.remote:%s"):format(class.className, name), declared[fn] or fn)
  end
end

local told = {}

-- Tells what is probably not meant in a class, once.
local function advise(class)
  for _, text in ipairs(advice.of(class)) do
    if not told[text] then log.warn(text) end
    told[text] = true
  end
end

--- Serves a class on a port. Any number of ports may serve one class, whose clients are
-- then all in one set; any number of classes may be served in one process.
-- @tparam string host a host name, an address, "*" (every address), or "unix:PATH", which
-- takes no port: `sync.enable("unix:/run/app.sock", Class)`
-- @tparam number port 0 for a free one
-- @tparam sync.Protocol class
-- @tparam[opt] table given options: settings of `sync.Protocol` for this listener alone, and
-- `backlog` (clients that may wait to be accepted, 1024)
-- @treturn sync.Listener
-- @raise for a port that is taken, an unknown host or option
function sync.enable(host, port, class, given)
  if type(host) == "string" and host:find("^unix:") and type(port) ~= "number" then
    port, class, given = 0, port, class
  end
  local problem = checkEnable(host, port, class, given) or routes.problem(class) or
    advice.problem(class)
  local settings, listener
  if not problem then settings, problem = options.merge(class, given or {}) end
  if settings then
    local open = reload.isUnderWay() and reload.listen or sync.openListener
    listener, problem = open(host, port, class, settings)
  end
  if not listener then error("sync.enable: " .. problem, 2) end
  listener.asked, listener.isDeclared = port, versions.isLoading()
  opened[#opened + 1] = listener
  nameHandlers(class)
  advise(class)
  if reload.isUnderWay() then return listener end -- the rest is done when nothing can fail any more
  if cluster then cluster:addClass(class) end
  policies.write(opened)
  if started then log.info(("%s listens on %s"):format(class.className, tostring(listener))) end
  return listener
end

-- What `enable` calls; `sync-lua --check` puts another in its place.
sync.openListener = Listener.open

-- The classes that are served, in the order of their first listener.
local function classes()
  local list, seen = {}, {}
  for _, listener in ipairs(opened) do
    if not seen[listener.class] then
      seen[listener.class] = true
      list[#list + 1] = listener.class
    end
  end
  return list
end

-- Says where classes are served, and how sockets reach the kernel. Workers listen on the same
-- ports, so the first says so for all.
local function announce()
  if sync.worker and sync.worker > 1 then return end
  if opened[1] then log.info(("sockets by %s (%s)"):format(core.io())) end
  for _, class in ipairs(classes()) do
    local places, hint = {}, nil
    for _, listener in ipairs(opened) do
      if listener.class == class and not listener.closed then
        places[#places + 1] = tostring(listener)
        hint = hint or listener:hint()
      end
    end
    if hint then
      log.info(("%s listens on %s (try: %s)"):format(class.className, table.concat(places, ", "),
        hint))
    end
  end
end

-- SIGHUP: certificates and the log's file are as new. An own function of the script goes first.
local function hungUp()
  local encrypts = false
  for _, listener in ipairs(opened) do encrypts = encrypts or listener.settings.tls end
  if encrypts and sync.reloadCertificates() then log.info("read the certificates again") end
  log.reopen()
end

local function watchHangup()
  if not loop.signals[SIGNALS.HUP] then
    loop.signals[SIGNALS.HUP] = hungUp
    C.sync_signal_start(handle, SIGNALS.HUP, 0)
  end
end

local endWatching

-- What the server does by itself at INT and TERM.
local function toldToStop(number)
  if sync.worker then
    -- A terminal and a service manager tell every process; the parent says TERM once, and
    -- ends those that take too long itself.
    if stopped or drain.isOn() or number == SIGNALS.INT then return end
    loop.exitCode = loop.TOLD -- a signal of others': the parent starts another worker
  else
    endWatching() -- the next one, of either kind, ends the process at once
  end
  local does = drain.onTerm and "draining" or "stopping"
  log.info((number == SIGNALS.INT and "interrupted: " or "told to stop: ") .. does)
  if drain.onTerm then return sync.drain {seconds = drain.onTerm} end
  sync.stop()
end

-- The next process has taken over.
local function handedOver(seconds)
  stopped = true
  loop.stop(seconds)
end

-- SIGUSR2: the next process takes over.
local function toldToUpgrade()
  upgrade.begin(core.commandLine(), opened, handedOver)
end

local function watchUpgrade()
  if sync.worker or not arg or loop.signals[SIGNALS.USR2] then return end
  loop.signals[SIGNALS.USR2] = toldToUpgrade
  C.sync_signal_start(handle, SIGNALS.USR2, 0)
end

-- An own handler goes before.
local function watchSignals()
  for _, number in ipairs {SIGNALS.INT, SIGNALS.TERM} do
    if not loop.signals[number] then
      loop.signals[number] = toldToStop
      C.sync_signal_start(handle, number, sync.worker and 0 or END_SECONDS)
    end
  end
  watchHangup()
  watchUpgrade()
end

function endWatching()
  for number, fn in pairs(loop.signals) do
    if fn == toldToStop or fn == hungUp or fn == toldToUpgrade then
      loop.signals[number] = nil
      C.sync_signal_stop(handle, number)
    end
  end
end

-- A worker is a node of its siblings, unless the script has made it one of a larger cluster.
local function joinWorkers()
  if not sync.worker then return end
  local bus = require "sync.cluster.bus".open()
  if not cluster then sync.cluster:link(bus, sync.worker, arrival.hello and arrival.hello.node) end
  local function gone()
    if stopped then return end
    log.error("the workers' parent has gone: stopping")
    sync.stop(ORPHAN_SECONDS)
  end
  local server = {bus = bus, cluster = cluster, words = core.commandLine(), onLeft = handedOver,
    listeners = function() return opened end}
  if arrival.isNext then
    require "sync.upgrade.worker".arrive(server, gone)
  else
    bus:connect(PARENT, gone)
  end
  require "sync.upgrade.worker".attach(server)
  bus:onReload(reload.here, reload.renumber)
  reload.leaveTo(function(back, done) bus:askReload(back, done) end)
  local signals = {}
  for number in pairs(loop.signals) do signals[#signals + 1] = number end
  bus:tellListening(signals)
end

-- The console's commands, when somebody comes to say some.
local function addCommands()
  local server = {sync = sync, classes = classes, client = sync.client,
    listeners = function() return opened end, reload = reload.begin,
    version = function() return ("version %d (%s)"):format(reload.version()) end}
  for _, name in ipairs {"acts", "common", "evaluate", "lists", "trace"} do
    require("sync.console." .. name).attach(server)
  end
  require "sync.console.memory"
  require "sync.console.profile"
end
console.whenFirst(addCommands)

--- Serves until `sync.stop`, SIGINT or SIGTERM, or until no listener, client or timer is
-- left.
-- @raise when the server runs already, or nothing is there to begin with
function sync.start()
  if reload.isUnderWay() then reload.endLines() end
  if started then error("sync.start: the server runs already; call it once, last", 2) end
  started, stopped = true, false
  watchSignals()
  shedding.begin()
  if versions.current() and not arrival.isTrial() then door.open() end -- a server of sync-lua's
  joinWorkers()
  announce()
  if arrival.isNext then bans.hear(arrival.hello.bans) end
  local ok, message = xpcall(function()
    for _, class in ipairs(classes()) do class:onStart() end
    reload.settle()
    arrival.finish(opened)
  end, failure.trace)
  if ok and not sync.worker then systemd.ready() end -- of workers the parent says so
  local endWatch = (sync.worker or 1) == 1 and watch.start() or nil
  watchdog.start()
  local hadWork = not ok or loop.run()
  watchdog.stop()
  if endWatch then endWatch() end
  for _, listener in ipairs(opened) do listener:stop() end
  door.close()
  endWatching()
  started = false
  opened = {}
  if not ok then error("sync.start: error in onStart: " .. tostring(message), 0) end
  if not hadWork then
    error("sync.start: there is nothing to serve: no port, timer or connection; call " ..
      "sync.enable(host, port, Class) before", 2)
  end
end

--- Stops the server: listeners close, `onStop` of each class is called, what is queued is
-- written, and `sync.start` returns.
-- @tparam[opt=5] number seconds that slow clients get
function sync.stop(seconds)
  if not started or stopped then return end
  stopped = true
  drain.stopped()
  for _, listener in ipairs(opened) do listener:stop() end
  for _, class in ipairs(classes()) do
    local ok, message = xpcall(function() class:onStop() end, failure.trace)
    if not ok then
      log.error(("error in onStop of %s: %s"):format(class.className, tostring(message)))
    end
  end
  loop.stop(seconds or STOP_SECONDS)
end

--- Ends the server without haste: nobody new is accepted, `/healthz` and `/readyz` say 503,
-- `onShutdown` of classes and rooms is called, and clients are told to go elsewhere (`onGoAway`),
-- some each second. When nobody is left, or in `seconds`, the server stops. With `--workers` it is
-- this worker alone. One that drains already goes on as it does.
-- @tparam[opt] table given `seconds` (30) that it takes at most, and `batch`: clients that are told
-- in a second; by default as many as it takes to tell all in half of the time
-- @treturn boolean false: the server doesn't run, or stops or drains already
function sync.drain(given)
  local problem = drain.problem(given or {})
  if problem then error("sync.drain: " .. problem, 2) end
  if not started or stopped or drain.isOn() then return false end
  drain.begin({listeners = opened, classes = classes(), stop = sync.stop}, given or {})
  return true
end

--- Makes this process a node of a cluster: what is sent to a class's clients or to a room
-- reaches its clients on all nodes with the same engine. Call it first.
-- @function sync.cluster
-- @tparam string url "redis://HOST" or "nats://HOST"; see docs/scaling.md
-- @treturn sync.cluster
-- @raise when the URL is none. An engine that is away is waited for, in the background.

--- The client of an id: on a cluster also one that another node has.
-- @tparam number id
-- @treturn table|nil the client; one of another node has `id`, `node`, `send`, `fire` and
-- `close` alone. nil when there is none
function sync.client(id)
  if type(id) ~= "number" then error("sync.client(id): id must be a number", 2) end
  return loop.find(id) or cluster and cluster:distant(id)
end

-- The engine is a server's. The node may go on in the next process, or has been in the one before.
local function joinByServer(node)
  local nodes, crossing = require "sync.upgrade.node", require "sync.upgrade.crossing"
  nodes.attach(node)
  crossing.attach(node)
  if not node.held then return end
  nodes.arrive(node)
  crossing.arrive(node)
end

-- The classes that are served already are the node's.
local function joinCluster(node)
  cluster = node
  if package.loaded["sync.rooms.room"] then require "sync.rooms.nodes".begin(node) end
  panel.addSource("cluster", function() return node:state() end)
  if node.engine.catchUp then joinByServer(node) end
  for _, class in ipairs(classes()) do cluster:addClass(class) end
end

local function usesRooms()
  return package.loaded["sync.rooms.room"] ~= nil
end

-- Rooms of sync.Room.
upgrade.unrests[1] = function()
  if usesRooms() then return require "sync.upgrade.rooms".unrest() end
end

upgrade.parts[2] = function(parcel, add)
  if not usesRooms() then return end
  local guests = cluster and require "sync.upgrade.guests"
  if guests then guests.packNode(parcel, add) end
  require "sync.upgrade.rooms".pack(parcel, add)
  if guests then guests.pack(parcel, add) end
end

function arrival.parts.room(given) require "sync.upgrade.rooms".restore(given) end
function arrival.parts.guest(given) require "sync.upgrade.guests".restore(given) end
function arrival.parts.roomsNode(given) require "sync.upgrade.guests".restoreNode(given) end
function arrival.parts.roomsFound(given) require "sync.upgrade.guests".restoreFound(given) end

-- Numbers of rooms that are made there don't clash with those that are handed over.
upgrade.hellos[1] = function(hello)
  if usesRooms() then hello.lastRoom = require "sync.rooms.numbers".last() end
end

-- Bans: all before the next process loads its script, and at the end what is news since.
local bansTold = 0

upgrade.hellos[2] = function(hello)
  bansTold = os.time()
  hello.bans = bans.all()
end

upgrade.parts[3] = function(parcel, add)
  add(parcel, {what = "bans", list = bans.all(bansTold)}, "bans")
end

function arrival.parts.bans(given)
  bans.hear(given.list)
end

-- The values of sync.shared, where this process keeps them itself.
upgrade.parts[1] = function(parcel, add)
  if not own then return end
  own.hub.store:pack(function(list)
    add(parcel, {what = "shared", values = list}, "sync.shared")
  end)
end

function arrival.parts.shared(given)
  own = own or require "sync.cluster.memory".open()
  own.hub.store:unpack(given.values)
end

-- What keeps the values of sync.shared.
local function sharedEngine()
  if cluster then return cluster.engine end
  own = own or require "sync.cluster.memory".open()
  return own
end

--- Reads the certificates of all listeners from their files again; new clients get the new
-- ones, and those that are connected notice nothing. SIGHUP does the same.
-- @treturn boolean true, or false and what is wrong with the first that can't be used: its
-- listener keeps its old ones
function sync.reloadCertificates()
  local problem
  for _, listener in ipairs(opened) do
    local done, message = listener:loadCertificates()
    if not done then
      log.error(("%s keeps its certificates: %s"):format(tostring(listener), message))
      problem = problem or message
    end
  end
  if problem then return false, problem end
  return true
end

--- The configuration with which Ruffle plays movies that connect to the enabled ports: put
-- it into a page before Ruffle's own script. The server serves it, too, as /ruffle.js.
-- @tparam[opt] string host one more name that movies may ask for
-- @treturn string JavaScript
function sync.ruffle(host)
  return ruffle.script(opened, host)
end

--- Whether the server runs.
-- @treturn boolean
function sync.isRunning()
  return started
end

--- Whether this process is about to take over from one that runs (see docs/upgrade.md): what is
-- to be begun only once, as rooms in `onStart`, comes from there.
-- @treturn boolean
function sync.takesOver()
  return arrival.isNext
end

--- Whether listeners wait for `sync.start`.
-- @treturn boolean
function sync.isWaiting()
  for _, listener in ipairs(opened) do
    if not started and not listener.closed then return true end
  end
  return false
end

--- Calls a function when a signal comes.
-- @tparam string|number name "HUP", "INT", "QUIT", "USR1", "USR2", "TERM", or a number
-- @tparam function|nil fn called with the signal's number; nil gives the signal back. Behind
-- that of HUP the server reads its certificates and opens the log's file again
function sync.signal(name, fn)
  local number = type(name) == "number" and name or
    SIGNALS[tostring(name):upper():gsub("^SIG", "")]
  if not number then
    error(("sync.signal: unknown signal %q; there are HUP, INT, QUIT, USR1, USR2, TERM")
      :format(tostring(name)), 2)
  end
  versions.noteSignal(number, fn ~= nil)
  if number == SIGNALS.HUP then
    local first = fn
    fn = first and function(...)
      loop.guard("a signal's handler", first, ...)
      hungUp()
    end or started and hungUp or nil
  end
  loop.signals[number] = fn
  if not fn then
    C.sync_signal_stop(handle, number)
    return
  end
  local error_code = C.sync_signal_start(handle, number, 0)
  if error_code < 0 then
    error("sync.signal: " .. select(2, core.problem(error_code)), 2)
  end
end

-- What a reload has to do with the server.
reload.attach {
  listeners = function() return opened end,
  setListeners = function(list) opened = list end,
  open = function(...) return sync.openListener(...) end,
  setSignal = function(number, fn)
    C.sync_signal_stop(handle, number)
    loop.signals[number] = fn ~= toldToStop and fn ~= hungUp and fn ~= toldToUpgrade and fn or nil
    if loop.signals[number] then C.sync_signal_start(handle, number, 0) end
    watchSignals()
  end,
  added = function(served)
    policies.write(opened)
    for class in pairs(cluster and served or {}) do
      loop.guard("sync.cluster", cluster.addClass, cluster, class)
    end
  end,
}

--- Lets another version of the script take the place of the one that runs, under its clients, when
-- what is handled now has been: see docs/reload.md. In a function that may wait this waits.
-- @tparam[opt] table given `{back = true}`: the version before, whatever the files have become
-- @treturn boolean|nil where this waits: true, or nil and what is wrong. The log says so, too
function sync.reload(given)
  local back = given and given.back or false
  if not task.isInside() then
    reload.begin(back, function() end)
    return
  end
  return task.await(function(resume) reload.begin(back, resume) end)
end

--- Which version of the script runs, or loads.
-- @function sync.codeVersion
-- @treturn number 1, and after each reload one more
-- @treturn string what tells the files of this version from others', in hexadecimal
sync.codeVersion = reload.version

--- Looks a host name up without blocking.
-- @tparam string host
-- @tparam function fn called with a list of addresses, or with nil and a message
function sync.resolve(host, fn)
  if type(host) ~= "string" or type(fn) ~= "function" then
    error("sync.resolve(host, fn): host must be a string and fn a function", 2)
  end
  local request = C.sync_resolve(handle, host)
  if request < 0 then
    local name, text = core.problem(request)
    fn(nil, name .. ": " .. text)
    return
  end
  loop.lookups[request] = fn
end

--- Remoting: `sync.Remote` is the class to extend, `sync.connect(url, options)` makes a
-- `sync.Client` of such a server, `sync.method` declares arguments,
-- `sync.fault` makes errors that a client is told, `sync.null` stands for JSON's null,
-- `sync.list` makes a table a list, so that an empty one is `[]`. They are loaded when they are
-- first used. So is state that clients see (docs/state.md): `sync.Room` is the class to extend,
-- `sync.state` declares what its members see, of types that are names, or made by `sync.fixed`,
-- `sync.listOf`, `sync.map`, `sync.server`, `sync.private`; `sync.near` says whom a member sees.
local LAZY = {
  cluster = function()
    return require "sync.cluster".new(nil, {onBegin = joinCluster, before = function()
      return arrival.isNext and arrival.hello.node or nil
    end})
  end,
  connect = function() return require "sync.remoting.client".connect end,
  Remote = function() return require "sync.remoting.remote" end,
  Room = function()
    local Room = require "sync.rooms.room"
    local last = arrival.hello and arrival.hello.lastRoom
    if last then require "sync.rooms.numbers".skip(last + 2 ^ 20) end
    if cluster then require "sync.rooms.nodes".begin(cluster) end
    return Room
  end,
  crypto = function() return require "sync.secrets.crypto" end,
  fault = function() return require "sync.remoting.fault".new end,
  http = function() return require "sync.fetch" end,
  jwt = function() return require "sync.secrets.jwt" end,
  list = function() return require "sync.list".new end,
  method = function() return require "sync.remoting.method".declare end,
  migrate = function() return require "sync.sql.migrate" end,
  null = function() return require "cjson".null end,
  password = function() return require "sync.secrets.password" end,
  redis = function() return require "sync.redis" end,
  shared = function() return require "sync.cluster.shared".opener(sharedEngine) end,
  sleep = function() return require "sync.task".sleep end,
  sql = function() return require "sync.sql" end,
  socket = function() return require "sync.socket" end,
  spawn = function() return require "sync.task".spawn end,
  work = function() return require "sync.work" end,
}

-- Of `sync.state`: what it is called with, and what makes types in it.
LAZY.state = function() return require "sync.state.schema".new end
for _, name in ipairs {"fixed", "listOf", "map", "near", "private", "server"} do
  LAZY[name] = function() return require "sync.state.type"[name] end
end

return setmetatable(sync, {
  __index = function(_, name)
    local load = LAZY[name]
    local value = load and load()
    if value ~= nil then rawset(sync, name, value) end
    return value
  end,
})
