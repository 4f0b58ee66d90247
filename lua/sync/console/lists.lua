--- Commands of the console that list what there is.
-- @module sync.console.lists

local console = require "sync.console"
local core = require "sync.core"
local directory = require "sync.rooms.directory"
local jutil = require "jit.util"
local loop = require "sync.loop"
local show = require "sync.console.show"

local C, handle = core.C, core.handle

local MOST = 100 -- lines, unless more are wanted
local MOST_LINES = 10000

local lists = {}

local server -- see attach

--- Hands over what belongs to the server.
-- @tparam table functions `listeners()`, `classes()`, `client(id)`
function lists.attach(functions) server = functions end

-- Lines of columns, each as wide as its longest word.
local function columns(context, rows)
  local widths = {}
  for _, row in ipairs(rows) do
    for i, word in ipairs(row) do widths[i] = math.max(widths[i] or 0, #tostring(word)) end
  end
  for _, row in ipairs(rows) do
    local words = {}
    for i, word in ipairs(row) do
      local width = i == #row and 0 or math.min(widths[i], 60)
      words[i] = word .. (" "):rep(width - #tostring(word))
    end
    context.out("%s", table.concat(words, "  "))
  end
end

-- Shows so many rows, and says how many there are.
local function tell(context, rows, most, what)
  local count = #rows - 1
  for i = #rows, most + 2, -1 do rows[i] = nil end
  columns(context, rows)
  context.out("%d %s%s", count, what,
    count > most and (", of which %d are shown"):format(most) or "")
end

local function describe(id)
  local client = server.client(id)
  if not client then console.refuse("there is no client %d", id) end
  return show(client)
end

-- "CLASS N", in any order, both may be left out.
local function wanted(rest)
  local class, most
  for word in rest:gmatch "%S+" do
    if tonumber(word) then most = console.number(word, MOST, MOST_LINES) else class = word end
  end
  return class, most or MOST
end

console.add("clients", "[CLASS] [MOST]", "clients, the oldest first", function(context, rest)
  local class, most = wanted(rest)
  local list = {}
  for slot, client in pairs(loop.clients) do
    local name = getmetatable(client).className
    if not client.isLink and (not class or name == class) then
      list[#list + 1] = {client.id, name, client.transport, client.address,
        C.sync_queued(handle, slot)}
    end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  table.insert(list, 1, {"id", "class", "transport", "address", "unsent"})
  tell(context, list, most, "clients")
end)

console.add("client", "ID", "a client's fields", function(context, rest)
  context.out("%s", describe(console.number(rest, nil, 2 ^ 53) or console.refuse("client ID")))
end)

console.add("listeners", "", "where it listens", function(context)
  local rows = {{"where", "class", "settings"}}
  for _, listener in ipairs(server.listeners()) do
    local names = {}
    for name in pairs(listener.settings.transports) do names[#names + 1] = name end
    table.sort(names)
    rows[#rows + 1] = {tostring(listener), listener.class.className, table.concat(names, ",") ..
      (listener.settings.tls and ", tls" or "") .. (listener.closed and ", closed" or "")}
  end
  tell(context, rows, MOST, "listeners")
end)

local function placeOf(fn)
  local info = jutil.funcinfo(fn)
  return info.source and ("%s:%d"):format(info.source:gsub("^[@=]", ""), info.linedefined) or "C"
end

console.add("timers", "", "timers, by the function that they call", function(context)
  local counts, rows = {}, {}
  for _, timer in pairs(loop.timers) do
    local key = placeOf(timer.fn) .. (timer.once and " once" or " again and again")
    counts[key] = (counts[key] or 0) + 1
  end
  for key, count in pairs(counts) do
    local place, how = key:match "^(%S+) (.*)$"
    rows[#rows + 1] = {count, how, place}
  end
  table.sort(rows, function(a, b)
    if a[1] ~= b[1] then return a[1] > b[1] end
    return a[3] < b[3]
  end)
  table.insert(rows, 1, {"count", "fires", "function"})
  tell(context, rows, MOST, "places that timers call")
end)

-- Rooms that clients have joined, of all classes that are served.
local function roomsOf(class, rows)
  for name, room in pairs(class.roomsByName) do
    if room:count() > 0 then
      rows[#rows + 1] = {room:count(), class.className, tostring(name):gsub("%c", "?"):sub(1, 60)}
    end
  end
end

console.add("rooms", "[CLASS] [MOST]", "rooms, the fullest first", function(context, rest)
  local name, most = wanted(rest)
  local rows = {}
  for _, class in ipairs(server.classes()) do
    if not name or class.className == name then roomsOf(class, rows) end
  end
  for _, class in ipairs(directory.classes()) do
    for _, home in ipairs((not name or class.className == name) and directory.some(class) or {}) do
      rows[#rows + 1] = {#home.room.members, class.className, home.room.id}
    end
  end
  table.sort(rows, function(a, b) return a[1] > b[1] end)
  table.insert(rows, 1, {"members", "class", "room"})
  tell(context, rows, most, "rooms")
end)

return lists
