--- `sync-lua console PID` and `sync-lua reload PID`: the other side of a server's door (see
-- lua/sync/console/door.lua).
-- @module sync.cli.console

local cjson = require "cjson.safe"
local loop = require "sync.loop"
local places = require "sync.places"
local task = require "sync.task"
local tcp = require "sync.socket.tcp"
local terminal = require "sync.cli.terminal"

local console = {}

local HELP = [[
usage: sync-lua console PID             asks for lines, and says what the server answers
       sync-lua console PID COMMAND     says one line; exit code 1 when that has failed
       sync-lua console URL [COMMAND]   the same by https://HOST:PORT, the secret being in the
                                        environment: SYNC_CONSOLE; a file of the authority
                                        that is trusted may be, too: SYNC_CONSOLE_CA
       sync-lua reload PID [back]       the same as sync-lua console PID reload [back]

PID is the process of a server that this user runs, or anybody's for root. The server's log
has each line. The command help lists what there is; what is none is evaluated as Lua.
]]

local function fail(code, ...)
  io.stderr:write("sync-lua console: ", string.format(...), "\n")
  return code
end

local function connect(process)
  local list = places.find(process)
  if not list then return nil, ("there is no process %d"):format(process) end
  local problem
  for _, place in ipairs(list) do
    local connection = tcp.create()
    local done, why = connection:connect("unix:" .. place.path)
    if done then
      connection:settimeout(nil)
      return connection
    end
    if why ~= "No such file or directory" or not problem then problem = why end
  end
  return nil, ("process %d has no console: %s; is it a server of sync-lua, run by this user, " ..
    "and without --console=off?"):format(process, problem)
end

-- Says a line and writes the answer. Returns whether it was done; nil: the server has gone.
local function say(connection, line)
  local sent = connection:send(line .. "\n")
  while sent do
    local text = connection:receive "*l"
    local answer = text and cjson.decode(text)
    if not answer then break end
    if answer.ok ~= nil then
      if not answer.ok then io.stdout:write("error: ", tostring(answer.problem), "\n") end
      return answer.ok
    end
    io.stdout:write(tostring(answer.out), "\n")
    io.stdout:flush()
  end
  io.stdout:write "the server has gone\n"
end

-- The same by a URL.
local function sayTo(url, line)
  local response, problem = require "sync.fetch" {url = url .. "/console", method = "POST",
    body = line, headers = {Authorization = "Bearer " .. (os.getenv "SYNC_CONSOLE" or "")},
    ca = os.getenv "SYNC_CONSOLE_CA", timeout = 90}
  if not response then
    io.stdout:write(tostring(problem), "\n")
    return nil
  end
  local isAnswer = response.status == 200 or response.status == 422
  io.stdout:write(isAnswer and "" or ("status %d: "):format(response.status), response.body)
  if not isAnswer then return nil end
  return response.status == 200
end

local function ask(tell, name)
  local home = os.getenv "HOME"
  local read, finish = terminal.open(name .. "> ", home and home .. "/.sync_lua_history")
  local code = 0
  for line in read do
    local done = not line:find "%S" or tell(line)
    if done == nil then
      code = 1
      break
    end
  end
  finish()
  return code
end

local function run(name, tell, line)
  if line then return tell(line) and 0 or 1 end
  return ask(tell, name)
end

local function runHere(process, line)
  local connection, problem = connect(process)
  if not connection then return fail(1, "%s", problem) end
  local code = run(tostring(process), function(text) return say(connection, text) end, line)
  connection:close()
  return code
end

local function runThere(url, line)
  if not os.getenv "SYNC_CONSOLE" then
    return fail(2, "the environment lacks SYNC_CONSOLE, the secret of the server's setting console")
  end
  return run(url, function(text) return sayTo(url, text) end, line)
end

--- Does what the command line says.
-- @tparam table words the command line, from 1 on
-- @tparam string name "console" or "reload"
-- @treturn number the exit code
function console.main(words, name)
  local process, url = tonumber(words[1]), (words[1] or ""):match "^https://.*[^/]"
  if words[1] == "--help" or words[1] == "-h" then
    io.stdout:write(HELP)
    return 0
  elseif not url and (not process or process < 1 or process % 1 ~= 0) then
    return fail(2, "the PID of a server must be given; see sync-lua console --help")
  end
  local line = words[2] and table.concat(words, " ", 2)
  if name == "reload" then line = line and "reload " .. line or "reload" end
  local code = 1
  task.spawn(function() code = (url and runThere or runHere)(url or process, line) end)
  loop.run()
  return code
end

return console
