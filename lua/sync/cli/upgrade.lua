--- `sync-lua upgrade PID`: asks a server for an upgrade, and says what came of it.
-- @module sync.cli.upgrade

local core = require "sync.core"
local log = require "sync.log"
local upgrade = require "sync.upgrade"

local C = core.C

local USR2 = 12
local WAIT_MS = 90000 -- more than a trial, or a worker's hand-over, may take

local function fail(text)
  log.print("sync-lua: upgrade: " .. text)
  return 1
end

local function read(process, name)
  local file = io.open(("/proc/%s/%s"):format(process, name))
  local text = file and file:read "*a" or ""
  if file then file:close() end
  return text
end

-- Whether a process has a handler for SIGUSR2, which would end any other. A shell has one, and
-- ends all the same.
local function listens(process)
  local caught = read(process, "status"):match "SigCgt:%s*(%x+)"
  local mask = caught and tonumber(caught:sub(-8), 16)
  if not mask or math.floor(mask / 2 ^ (USR2 - 1)) % 2 == 0 then return false end
  local program = read(process, "comm")
  return program == "luajit\n" or program == read("self", "comm")
end

local cli = {}

--- Does it.
-- @tparam table words what stands behind the command
-- @treturn number the exit code
function cli.main(words)
  local process = tonumber(words[1])
  if not process or words[2] then
    log.print("usage: sync-lua upgrade PID\n\nReplaces a running server by its program and " ..
      "script as they are now. See docs/upgrade.md.")
    return 2
  end
  if not listens(process) then
    return fail(("process %d is no server of sync-lua that can be upgraded"):format(process))
  end
  local fd = C.sync_answer_wait(upgrade.answerName(process))
  if fd < 0 then return fail("somebody else waits for an upgrade of it") end
  local code = C.sync_kill(process, USR2)
  if code < 0 then return fail(select(2, core.problem(code))) end
  local said, why
  repeat said, why = core.hear(fd, WAIT_MS) until not said or not said:find "^going: "
  if not said then return fail("no answer: " .. why) end
  local done = said:match "^done: (.*)"
  if not done then return fail((said:gsub("^failed: ", ""))) end
  print(done)
  return 0
end

return cli
