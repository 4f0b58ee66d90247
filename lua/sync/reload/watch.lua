--- `--watch`: reloads when a file of the script has changed. For who writes one.
-- @module sync.reload.watch

local log = require "sync.log"
local loop = require "sync.loop"
local reload = require "sync.reload"
local source = require "sync.reload.source"

local SECONDS = 0.25 -- between looks

local watch = {}

local isOn = false

--- It's wanted.
function watch.want() isOn = true end

-- What has changed between two looks: a path, or nil.
local function changed(before, now)
  for path, stamp in pairs(now) do
    if before[path] ~= stamp and before[path] ~= nil then return path end
  end
end

-- Editors write a file in several steps, and a person several files: what has changed is loaded
-- when nothing has for the time between two looks.
local function begin()
  local last, path = source.stamps(), nil
  return function()
    local now = source.stamps()
    local another = changed(last, now)
    last = now
    if another then
      path = another
    elseif path then
      log.info(path .. " has changed")
      path = nil
      reload.begin(false, function() last = source.stamps() end)
    end
  end
end

--- Begins, if it's wanted.
-- @treturn function ends it
function watch.start()
  if not isOn or not source.isThere() then return function() end end
  local timer = loop.startTimer(SECONDS, SECONDS, begin())
  return function() loop.stopTimer(timer) end
end

return watch
