--- The command line of sync-lua. `main` gets what src/main.c has read of it.
-- @module sync.cli

local cli = {}

local HELP = [[
usage: sync-lua [options] script [arguments]
       sync-lua [options] -e CODE
       sync-lua new NAME
       sync-lua console PID [COMMAND]
       sync-lua reload PID [back]
       sync-lua upgrade PID

Runs a Lua script with LuaJIT and SYNC: require "sync" needs no installation.
What stands behind the script's name is the script's own.

  script            a file, or - for standard input
  new NAME          make a new project in a folder NAME; see sync-lua new --help
  console PID       ask a server that runs, and tell it: clients, rooms, memory, Lua; help
                    lists the commands. One behind the PID is said, and that is all
  reload PID        have a server run its script's files anew, under its clients
  upgrade PID       have a new process, of program and script as they are now, take over
                    all connections of a server; so does SIGUSR2
  -e CODE           run CODE; may be given several times, before a script or without one
  -l NAME           require a module first
  --check           load the script and report its mistakes, without serving
  --ruffle          print the configuration with which Ruffle plays Flash movies that
                    connect to the script's ports, without serving
  --workers=N       N processes that share the ports and are one server; auto: one for
                    each core
  --cluster=URL     be one server with all that have the same redis:// or nats:// URL
  --memory=SIZE     the memory that clients may use, as in 512M: near it none is accepted,
                    at it the heaviest are closed; off: none. By itself four fifths of
                    what the container or the service may have. Workers have shares
  --watchdog=SECONDS
                    log a handler that has not ended after so long, and where it is; off:
                    none. By itself 1
  --handler-timeout=SECONDS
                    end a handler after so long, by an error in it; off: none, which
                    stands but for workers: 10
  --drain=SECONDS   SIGTERM sends clients elsewhere first, for at most so long
  --bans=FILE       keep who is banned in FILE, over restarts
  --jit=on|off      compile hot code (on), or interpret everything
  --jit-report      at the end, say for each handler whether it ran as native code,
                    and where not, why
  --io=WAY          how sockets reach the kernel: uring (io_uring), epoll, poll;
                    auto: uring where it works, else epoll; --version says why
  --io-threads=N    by uring, N threads on cores of their own send and receive, beside the
                    one that runs Lua; see docs/scaling.md
  --watch           reload the script when a file of its folder has changed
  --console=on|off  the socket by which sync-lua console reaches the server
  --log=WORDS       debug, info, warn or error; text or json; both as in --log=warn,json
  --log-file=FILE   write the log to the end of FILE instead of standard error
  -j CMD, -O OPT    LuaJIT's own: -jv shows its traces, -jdump its code, -jp where time
                    goes, -O3 how much it optimizes
  -h, --help        this text
  -v, --version     versions of sync-lua, LuaJIT and libuv; which --io it takes, and why

SIGINT and SIGTERM stop a server: it stops accepting, writes what is queued, within 5 s,
and exits with 0; the second signal ends it at once. SIGHUP has it read its certificates
and open the log's file again. Exit codes: 0 done, 1 the script failed,
2 the command line is wrong, 75 a handler could not be ended.
]]

local function fail(message)
  require "sync.log".print("sync-lua: " .. message)
end

-- An error that SYNC raised about the call it names is a line a person can act on; of
-- any other the traceback helps.
local function withTraceback(message)
  if type(message) == "string" and
    (message:find("sync[%.:]%w+: ") or message:find("sync[%.:]%w+%b(): ")) then
    return message
  end
  if message == nil then return nil end -- how busted and others end without a word
  if type(message) ~= "string" then
    local meta = getmetatable(message)
    if not (meta and meta.__tostring) then
      message = ("error value is a %s: %s"):format(type(message), tostring(message))
    end
  end
  return require "sync.failure".trace(message)
end

local function protected(fn, ...)
  local ok, message = xpcall(fn, withTraceback, ...)
  if not ok then
    if message ~= nil then fail(message) end
    return 1
  end
  return 0
end

-- -jv, -jdump=…, -jon as in luajit.
local function jitCommand(text)
  local name, argument = text:match("^([^=]+)=?(.*)$")
  if name == "on" or name == "off" or name == "flush" then
    jit[name]()
    return true
  end
  local ok, module = pcall(require, "jit." .. tostring(name))
  if not ok or type(module) ~= "table" or not module.start then
    return nil, ("unknown -j command %q; there are on, off, flush, v, dump, p"):format(text)
  end
  local arguments = {}
  for word in argument:gmatch("[^,]+") do arguments[#arguments + 1] = word end
  module.start(unpack(arguments))
  return true
end

local processes = 1 -- that share what the system lets them have

-- What each option does; a function of its value, that may return nil and a message.
local actions = {}

function actions.jit(value)
  if value ~= "on" and value ~= "off" then
    return nil, ("--jit takes on or off, not %q"):format(value)
  end
  if value == "off" then require "sync.jit".off() end
  return true
end

actions["jit-report"] = function()
  require "sync.jit".watch()
  return true
end

function actions.memory(value)
  local limit = require "sync.limit"
  local bytes, problem = limit.parse(value)
  if bytes == nil then return nil, problem end
  limit.bytes = bytes and math.floor(bytes / processes)
  return true
end

function actions.bans(path)
  local worker = require "sync".worker -- the first writes for all
  return require "sync.bans".keep(path, not worker or worker == 1)
end

function actions.console(value)
  if value ~= "off" and value ~= "on" then
    return nil, ("--console takes on or off, not %q"):format(value)
  end
  if value == "off" then require "sync.console.door".off() end
  return true
end

function actions.watchdog(value)
  return require "sync.watchdog".configure("--watchdog", value)
end

actions["handler-timeout"] = function(value)
  return require "sync.watchdog".configure("--handler-timeout", value)
end

function actions.drain(value)
  local drain = require "sync.drain"
  local problem
  drain.onTerm, problem = drain.parse(value)
  return drain.onTerm, problem
end

function actions.log(value)
  return require "sync.log".configure(value)
end

function actions.watch()
  require "sync.reload.watch".want()
  return true
end

actions["log-file"] = function(path)
  return require "sync.log".open(path)
end

function actions.io() return true end -- src/main.c has seen to it, before there was a core

actions["io-threads"] = actions.io

actions.j = jitCommand

function actions.O(value)
  local ok, message = pcall(require "jit.opt".start, value ~= "" and value or "3")
  return ok, ok or "-O" .. value .. ": " .. tostring(message):gsub("^.-: ", "")
end

function actions.library(value)
  local module = require(value)
  _G[value] = module
  return true
end

function actions.execute(value)
  local chunk, message = loadstring(value, "=(command line)")
  if not chunk then return nil, message end
  chunk()
  return true
end

local function version()
  local core = require "sync.core"
  print(("sync-lua %s (%s, libuv %s, io %s: %s)"):format(require "sync".version, jit.version,
    core.uvVersion(), core.io()))
end

local function load(script)
  if script == "-" then return loadstring(io.read("*a"), "=stdin") end
  local file, message = io.open(script)
  if not file then return nil, message end
  file:close()
  return loadfile(script)
end

-- Replaces listeners by ones that don't listen. Returns what was enabled, and whether the
-- server was started, in a table.
local function pretend()
  local sync = require "sync"
  local done = {listeners = {}, started = false}
  sync.openListener = function(host, port, class, settings)
    local listener = setmetatable({host = host, class = class, settings = settings,
      port = not host:find("^unix:") and port or nil,
      close = function() end, setPolicy = function() end},
      {__tostring = function() return host .. ":" .. port end})
    done.listeners[#done.listeners + 1] = listener
    return listener
  end
  sync.start = function() done.started = true end
  return done
end

-- Prints Ruffle's configuration for what a script enables.
local function printRuffle(script)
  local done = pretend()
  local chunk, message = load(script)
  if not chunk then
    fail(message)
    return 1
  end
  if protected(chunk, unpack(arg)) ~= 0 then return 1 end
  for _, listener in ipairs(done.listeners) do
    if listener.port == 0 then
      fail(("%s enables port 0, so its port is known only when it runs: choose one, or load " ..
        "/ruffle.js from the server"):format(script))
      return 1
    end
  end
  io.write(require "sync.flash.ruffle".script(done.listeners))
  return 0
end

-- Loads the script with listeners that don't listen, and reports what it finds.
local function check(script)
  local problems = {}
  local done = pretend()
  setmetatable(_G, {__newindex = function(globals, name, value)
    local info = debug.getinfo(2, "Sl")
    if info.what ~= "C" and info.source:sub(1, 1) == "@" then
      problems[#problems + 1] = ("%s:%d: %s is made a global variable; did you mean " ..
        "local %s?"):format(info.short_src, info.currentline, tostring(name), tostring(name))
    end
    rawset(globals, name, value)
  end})
  local chunk, message = load(script)
  if not chunk then
    fail(message)
    return 1
  end
  if protected(chunk, unpack(arg)) ~= 0 then return 1 end
  if #done.listeners > 0 and not done.started then
    problems[#problems + 1] = script .. ": sync.enable is called, but not sync.start"
  end
  for _, problem in ipairs(problems) do fail(problem) end
  if #problems == 0 then print(("%s: no mistake found"):format(script)) end
  return #problems == 0 and 0 or 1
end

-- The script's first version begins. One that is no file can't be read again.
local function loadFirst(script)
  require "sync.versions".begin(1, false)
  if script == "-" then return load(script) end
  require "sync.reload.declarations".watch()
  return require "sync.reload.source".begin(script)
end

local function runScript(script)
  local chunk, message = loadFirst(script)
  if not chunk then
    fail(message)
    return 1
  end
  return protected(chunk, unpack(arg))
end

function actions.cluster(url)
  local done, problem = require "sync".cluster:open(url)
  return done and true, problem
end

-- The parent of workers. Each of them is this same command.
local function runWorkers(text)
  local workers = require "sync.cluster.workers"
  local count, problem = workers.count(text)
  if count and arg[0] == "-" then
    count, problem = nil, "--workers needs a script that is a file: each worker reads it"
  end
  if not count then
    fail(problem)
    return 2
  end
  local door = require "sync.console.door"
  require "sync.console".whenFirst(function() require "sync.console.parent" end)
  door.open()
  local code = workers.run(count, require "sync.core".commandLine(),
    require "sync.upgrade.parent")
  door.close()
  return code
end

-- The exit code, 1 if listeners were opened and nobody was served.
local function checkServed(code, name)
  local sync = package.loaded.sync
  if code == 0 and sync and sync.isWaiting() then
    fail(name .. " calls sync.enable, but not sync.start: nobody was served")
    return 1
  end
  return code
end

local function printReport()
  require "sync.log".print(tostring(require "sync".jit.report()))
end

-- Carries one option out. Returns an exit code when that ends the program.
local function apply(name, value)
  if name == "help" then
    io.write(HELP)
    return 0
  elseif name == "version" then
    version()
    return 0
  elseif name == "check" or name == "ruffle" or name == "workers" then
    return
  end
  local ok, message
  local code = protected(function() ok, message = actions[name](value) end)
  if code ~= 0 then return code end
  if not ok then
    fail(message)
    return 2
  end
end

-- Options that the parent of workers has, too.
local OF_PARENTS = {log = true, ["log-file"] = true, memory = true, drain = true,
  console = true}

-- What may stand in a script's place.
local OTHERS = {new = "sync.cli.new", console = "sync.cli.console", reload = "sync.cli.console",
  upgrade = "sync.cli.upgrade"}

-- Gives text for standard output to the thread that writes it, while the loop runs: then nobody
-- waits for who reads it. Before and behind, a script is a program as any other. Returns whether it
-- did.
local function printByThread(text)
  local loop = package.loaded["sync.loop"]
  if not loop then return false end
  local C = require "sync.core".C
  if loop.running then
    C.sync_print(text, #text)
    return true
  end
  C.sync_print_flush(1000) -- what came before
  return false
end

local function joined(separator, ...)
  local words = {...}
  for i = 1, select("#", ...) do words[i] = tostring(words[i]) end
  return table.concat(words, separator)
end

-- `print` and `io.write` of scripts.
local function replacePrinting()
  local print, write = print, io.write
  function _G.print(...)
    if not printByThread(joined("\t", ...) .. "\n") then print(...) end
  end
  function io.write(...) -- luacheck: globals io
    if io.output() ~= io.stdout or not printByThread(joined("", ...)) then return write(...) end
    return true
  end
end

--- Does what the command line says.
-- @tparam table given a list of {option, value}, in order
-- @treturn number the exit code
function cli.main(given)
  local script, wanted = arg[0], {}
  io.stdout:setvbuf "line" -- who reads what a server prints by a pipe waits for lines, too
  replacePrinting()
  local place = os.getenv "SYNC_WORKER" -- "2/4"; gone once the core is loaded
  local isWorker = place ~= nil
  processes = tonumber((place or ""):match("/(%d+)$")) or 1
  require "sync.jit"
  for _, option in ipairs(given) do wanted[option[1]] = option[2] end
  if wanted.workers and not isWorker and not wanted.check and not wanted.ruffle and
    not wanted.help and not wanted.version and (script or wanted.execute) and
    not OTHERS[script] then
    if (tonumber(wanted["io-threads"]) or 0) > 0 then
      fail("--workers and --io-threads both take cores: choose one; see docs/scaling.md")
      return 2
    end
    for _, option in ipairs(given) do
      local code = OF_PARENTS[option[1]] and apply(unpack(option))
      if code then return code end
    end
    return runWorkers(wanted.workers)
  end
  require "sync.limit".begin(processes)
  for _, option in ipairs(given) do
    local code = option[1] ~= "cluster" and apply(option[1], option[2])
    if code then return code end
  end
  if not script and not wanted.execute then
    fail("no script was given; see sync-lua --help")
    return 2
  end
  local other = OTHERS[script] -- a script is ./new
  if other then return require(other).main(arg, script) end
  -- Without a process before, scripts that need no SYNC have none loaded.
  if script and os.getenv "SYNC_TAKES_OVER" and not wanted.check and not wanted.ruffle then
    require "sync.upgrade.arrival".begin()
  end
  -- Behind that: a node may go on.
  local code = wanted.cluster and apply("cluster", wanted.cluster)
  if code then return code end
  if script and wanted.check then return check(script) end
  if script and wanted.ruffle then return printRuffle(script) end
  code = script and runScript(script) or 0
  if wanted["jit-report"] then printReport() end
  code = checkServed(code, script or "-e CODE")
  return code == 0 and require "sync.loop".exitCode or code
end

return cli
