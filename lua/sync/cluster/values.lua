--- Values of the application as they are told to other nodes, and kept for them: without loss
-- (see lua/sync/packed.lua).
-- @module sync.cluster.values

local frame = require "sync.cluster.frame"
local json = require "sync.json"
local log = require "sync.log"
local packed = require "sync.packed"
require "sync.flash.values" -- tells how dates, bytes and the like are packed

local values = {encode = packed.encode}

local MARK = packed.MARK:byte()

--- Reads what `encode` has made.
-- @tparam string text
-- @treturn boolean,any true and the value; or false and what is wrong
function values.decode(text)
  if text:byte() ~= MARK then return json.decode(text) end
  return pcall(function() return packed.restore(frame.decode(text, #packed.MARK)) end)
end

--- A value of the application as a text: "" for nil. One that can't be told is nil there, and
-- the log says so: it may be told long after it was set, on behalf of others.
-- @param value
-- @tparam string what it is, for the log
-- @treturn string
function values.note(value, what)
  if value == nil then return "" end
  local text, problem = packed.encode(value)
  if text then return text end
  log.limited("error", "note", ("%s can't be told to other nodes: %s"):format(what, problem))
  return ""
end

--- What `note` has noted.
-- @treturn any nil also of what can't be read
function values.read(text)
  if text == "" then return nil end
  local ok, value = values.decode(text)
  if ok then return value end
end

return values
