--- Rooms begin.
-- @module sync.rooms.making

local Entry = require "sync.rooms.entry"
local Home = require "sync.rooms.home"
local carried = require "sync.rooms.carried"
local compiler = require "sync.jit"
local directory = require "sync.rooms.directory"
local fault = require "sync.remoting.fault"
local keeping = require "sync.rooms.keeping"
local matching = require "sync.rooms.matching"
local options = require "sync.options"

local making = {}

local checked = setmetatable({}, {__mode = "k"}) -- classes

--- Looks at a class's settings, once.
-- @raise what is wrong
function making.check(class)
  if checked[class] then return end
  local ok, problem = options.check(class)
  if not ok then error(problem, 0) end
  compiler.name(class.className .. ":onTick", class.onTick)
  checked[class] = true
end

--- Has them looked at again.
function making.forget(class) checked[class] = nil end

--- Makes a room.
-- @tparam table class
-- @param given for onCreate
-- @tparam[opt] string id
-- @treturn Home|nil or nil and a fault
function making.make(class, given, id)
  local ok, problem = xpcall(making.check, Entry.catch, class)
  if not ok then return nil, Entry.tell(problem, "the settings of " .. class.className) end
  if directory.count(class) >= class.maxOpen or directory.count() >= directory.MOST then
    return nil, fault.new(fault.REFUSED, "there are too many rooms")
  end
  local home = Home.create(class:new {metadata = matching.chosen(class, given)}, id)
  keeping.add(home)
  ok, problem = home:open("onCreate", Entry.catch, given)
  if ok then return home end
  return nil, Entry.tell(problem, class.className .. ":onCreate")
end

--- Makes a room what it was on a node that has died. One with which that can't be done has ended.
-- @tparam table class
-- @tparam Record record of which this node has taken possession
-- @tparam string|nil bytes
-- @tparam table about
-- @treturn Home|nil
function making.restore(class, record, bytes, about)
  local home
  local ok, problem = xpcall(function()
    making.check(class)
    home = Home.create(class:new {metadata = {}}, record.id)
    keeping.add(home, record)
    if not bytes then error("what was kept of it is lost", 0) end
    local isFilled, why = carried.fill(home, bytes, about)
    if not isFilled then error(why, 0) end
  end, Entry.catch)
  if ok then
    ok, problem = home:open("onRestore", Entry.catch)
  elseif home then
    home:vanish()
  end
  if ok then return home end
  Entry.tell(problem, class.className .. ":onRestore")
end

return making
