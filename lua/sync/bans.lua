--- Addresses and networks that are shut out: `sync.ban`, `sync.unban` and `sync.bans`.
--
-- The core has the table that is looked at when a connection is accepted, before TLS costs
-- anything. Here is why and until when; what is kept in a file over restarts; and what other nodes
-- are told (lua/sync/cluster/banning.lua). Of two that know different things about a network the
-- one is right that has heard later. Addresses that do something too often, again and again, are
-- banned here, too.
-- @module sync.bans

local bit = require "bit"
local core = require "sync.core"
local jobs = require "sync.jobs"
local log = require "sync.log"
local loop = require "sync.loop"

local C, handle = core.C, core.handle

local MOST = 65536       -- that the core takes
local SECONDS = 86400    -- of a ban, by default
local EVER = 10 ^ 9      -- seconds of one that ends by unban alone
local KEPT = 600         -- seconds that it's known that one was taken back
local MOST_REASON = 200  -- bytes
local WRITE_SECONDS = 0.2 -- from a change to the file, so that many are one

local STEP = tonumber(C.SYNC_STEP_NOTICE)
local KICK, BAN = tonumber(C.SYNC_STEP_KICK), tonumber(C.SYNC_STEP_BAN)
local STEPS = {"is warned", "is slowed down: it may do a tenth", "has its connections closed",
  "is banned"}

local bans = {}

local known, count = {}, 0 -- {network, ends, reason, at}, by network; `ends` 0: taken back
local listeners = {}       -- functions that are told what has changed here
local path, timer          -- of the file, and until it's written

local function isOver(entry, time)
  return entry.ends == 0 and entry.at + KEPT < time or entry.ends > 0 and entry.ends <= time
end

-- Forgets what has ended. Called where there are many.
local function sweep(time)
  for network, entry in pairs(known) do
    if isOver(entry, time) then
      known[network] = nil
      count = count - 1
    end
  end
end

-- The file.

local function text()
  local lines, time = {}, os.time()
  for _, entry in pairs(known) do
    if entry.ends > time then
      lines[#lines + 1] = ("%s %d %d %s\n"):format(entry.network, entry.ends, entry.at,
        (entry.reason:gsub("%c", " ")))
    end
  end
  table.sort(lines)
  return table.concat(lines)
end

local writing = {} -- the job of it

function writing:jobEnded(value)
  local code = bit.tobit(value)
  if code >= 0 then return end
  log.limited("error", "bans", ("the file of bans can't be written: %s: %s"):format(path,
    select(2, core.problem(code))))
end

local function write()
  local content = text()
  local job, problem = jobs.begin(C.sync_keep_file(handle, path, content, #content), writing)
  if not job then log.limited("error", "bans", "the file of bans can't be written: " .. problem) end
end

local function changed()
  if not path or timer then return end
  timer = loop.startTimer(WRITE_SECONDS, 0, function()
    timer = nil
    write()
  end)
end

-- What is known.

-- Takes an entry, unless something later is known. Returns whether it's news, or nil and why not.
local function take(entry)
  local time, before = os.time(), known[entry.network]
  if before and before.at >= entry.at or isOver(entry, time) then return false end
  if not before and count >= MOST then sweep(time) end
  if not before and count >= MOST then return nil, "there are as many bans as there may be" end
  local code = C.sync_ban(handle, entry.network, math.max(0, entry.ends - time))
  if code < 0 then return nil, select(2, core.problem(code)) end
  if not before then count = count + 1 end
  known[entry.network] = entry
  if entry.ends > 0 then C.sync_kick(handle, entry.network) end
  changed()
  return true
end

local function isEntry(entry)
  return type(entry) == "table" and type(entry.network) == "string" and
    core.network(entry.network) == entry.network and type(entry.ends) == "number" and
    type(entry.at) == "number" and type(entry.reason) == "string"
end

--- Takes what another node says.
-- @tparam table list of entries
function bans.hear(list)
  for _, entry in ipairs(list) do
    if isEntry(entry) then take(entry) end
  end
end

--- All that is known, for another node or process.
-- @tparam[opt] number since leaves out what was said before, in seconds since 1970
-- @treturn table a list of entries
function bans.all(since)
  local list, time = {}, os.time()
  for _, entry in pairs(known) do
    if entry.at >= (since or 0) and not isOver(entry, time) then list[#list + 1] = entry end
  end
  return list
end

--- Calls a function with each list of entries that is news from here.
function bans.onChange(fn)
  listeners[#listeners + 1] = fn
end

local function say(network, ends, reason)
  local before = known[network]
  local entry = {network = network, ends = ends, reason = reason,
    at = math.max(os.time(), before and before.at + 1 or 0)}
  local done, problem = take(entry)
  if done == nil then return nil, problem end
  for _, fn in ipairs(listeners) do fn {entry} end
  return true
end

local function networkOf(call, given)
  local network = type(given) == "string" and core.network(given)
  if not network then
    error(('sync.%s: %s is no address, and no network such as "192.0.2.0/24" or ' ..
      '"2001:db8::/32"'):format(call, tostring(given)), 3)
  end
  return network
end

--- Shuts an address or a network out, on all nodes: its connections are closed, and new ones are
-- reset when they are accepted, before TLS. Of a listener's `proxies` it holds for those whom they
-- name.
-- @function sync.ban
-- @tparam string network "192.0.2.7", "192.0.2.0/24", "2001:db8::/64"
-- @tparam[opt] table given `seconds` (a day; false: until `sync.unban`), `reason`
-- @treturn boolean|nil true, or nil and why not: 65,536 are there
function bans.ban(network, given)
  network, given = networkOf("ban", network), given or {}
  local seconds = given.seconds == nil and SECONDS or given.seconds or EVER
  if type(seconds) ~= "number" or seconds ~= seconds or seconds <= 0 then
    error("sync.ban: seconds must be a number above 0, or false", 2)
  end
  local reason = tostring(given.reason or ""):sub(1, MOST_REASON)
  log.info("banned", {network = network, seconds = seconds < EVER and seconds or nil,
    reason = reason ~= "" and reason or nil})
  return say(network, os.time() + math.ceil(math.min(seconds, EVER)), reason)
end

--- Lets one in again that was shut out by the same address or network.
-- @function sync.unban
-- @tparam string network
-- @treturn boolean whether it was
function bans.unban(network)
  network = networkOf("unban", network)
  local entry = known[network]
  if not entry or entry.ends <= os.time() then return false end
  log.info("banned no more", {network = network})
  say(network, 0, "")
  return true
end

--- Who is shut out.
-- @function sync.bans
-- @treturn table a list of {network, seconds (that are left), reason}, by network
function bans.list()
  local list, time = {}, os.time()
  for _, entry in pairs(known) do
    if entry.ends > time then
      list[#list + 1] = {network = entry.network, seconds = entry.ends - time,
        reason = entry.reason}
    end
  end
  table.sort(list, function(a, b) return a.network < b.network end)
  return list
end

--- Keeps bans in a file, which is read now, and from now on written.
-- @tparam string name
-- @tparam boolean writes false: another process writes
-- @treturn boolean|nil true, or nil and what is wrong
function bans.keep(name, writes)
  local file, problem, code = io.open(name)
  if not file and code ~= 2 then return nil, "--bans: " .. problem end
  local number = 0
  for line in file and file:lines() or function() end do
    number = number + 1
    local network, ends, at, reason = line:match "^(%S+) (%d+) (%d+) ?(.*)$"
    network = network and core.network(network)
    if not network then
      return nil, ("--bans: %s:%d: a line is NETWORK END SINCE REASON, with times in seconds " ..
        "since 1970"):format(name, number)
    end
    take {network = network, ends = tonumber(ends), at = tonumber(at), reason = reason}
  end
  if file then file:close() end
  if writes then
    file, problem = io.open(name, "a") -- makes it, so that no ban finds out that it can't be
    if not file then return nil, "--bans: " .. problem end
    file:close()
    path = name
  end
  return true
end

-- What addresses do too often.

loop.on(C.SYNC_NOTICE, function(event)
  local step = event.value - STEP
  if step <= 0 then return end
  local name, listener = core.string(event.data, event.length), loop.listeners[event.id]
  log.limited("warn", "address step " .. step, "an address connects, or fails, too often: it " ..
    STEPS[step], {address = name, listener = listener and tostring(listener)})
  if step >= KICK then C.sync_kick(handle, name) end
  if step == BAN and listener then
    bans.ban(name, {seconds = listener.settings.banTime, reason = "too often"})
  end
end)

return bans
