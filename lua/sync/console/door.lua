--- The door: a Unix socket by which those who run a server reach it. Who comes is its owner or
-- root, says a line, and is answered by lines of JSON: {"out": text} for what there is to see, and
-- at the end {"ok": true}, or {"ok": false, "problem": text}. One line at a time is heard.
-- @module sync.console.door

local Connector = require "sync.connector"
local Protocol = require "sync.protocol"
local cjson = require "cjson"
local console = require "sync.console"
local core = require "sync.core"
local jobs = require "sync.jobs"
local log = require "sync.log"
local places = require "sync.places"
local waits = require "sync.waits"

local C = core.C

local READABLE = tonumber(C.SYNC_READABLE) + tonumber(C.SYNC_UNHELD)
local MOST = 8 -- who are inside at a time

local door = {}

local Visitor = Protocol:extend("Console")
Visitor.isLink = true
Visitor.framing, Visitor.maxMessage, Visitor.maxQueue = "line", 64 * 1024, 1024 * 1024
Visitor.messageTimeout, Visitor.handshakeTimeout, Visitor.waitTimeout = false, false, false

local entering = {} -- who they are, by slot
local inside = 0
local opened, isOff = false, false
local connector

function Visitor:begin()
  self.who = entering[self.slot]
  entering[self.slot] = nil
  inside = inside + 1
end

Visitor.onData = waits.declare(function(self, line)
  local context = {who = self.who,
    out = function(text) self:send(cjson.encode {out = text}) end,
    isGone = function() return self.slot == 0 or self.closing ~= false end}
  local ok, problem = console.run(context, line)
  self:send(cjson.encode {ok = ok, problem = problem})
end)

function Visitor:onClose()
  inside = inside - 1
end

-- Lets in who has come.
local Watch = {}
Watch.__index = Watch

function Watch:descriptorReady()
  local fd, user, process = core.visitor(self.fd)
  if fd < 0 then
    local name, text = core.problem(fd)
    if name ~= "EAGAIN" then
      log.limited("warn", "console", "somebody came to the console's socket and was refused: " ..
        text, {user = user, process = process})
    end
    return
  end
  local slot = inside < MOST and connector:adopt(fd)
  if not slot then return C.sync_door_refuse(fd) end
  entering[slot] = {user = user, process = process}
end

--- There is to be none.
function door.off() isOff = true end

--- Opens it. A server without one goes on, and its log says so at level debug.
function door.open()
  if opened or isOff then return end
  local fd, path = places.open()
  if not fd then
    log.debug("there is no console: its socket can't be opened at " .. path)
    return
  end
  connector = connector or assert(Connector.new(Visitor, {}))
  local watch = setmetatable({fd = fd}, Watch)
  local id = assert(jobs.watch(fd, READABLE, watch))
  opened = {fd = fd, path = path, id = id}
end

--- Closes it. Who is inside stays until the loop ends.
function door.close()
  if not opened then return end
  jobs.unwatch(opened.id)
  C.sync_door_close(opened.fd, opened.path)
  opened = false
end

return door
