-- docs/settings.md beside what classes declare.

local options = require "sync.options"
local sync = require "sync"

-- Calls fn(name, default) for each row of the page's tables of settings.
local function eachRow(page, fn)
  local inTable = false
  for line in page:gmatch("[^\n]+") do
    local cells = {}
    for cell in line:gmatch("|%s*([^|]*[^|%s])%f[%s|]") do cells[#cells + 1] = cell end
    if line:sub(1, 1) ~= "|" then
      inTable = false
    elseif cells[1] == "setting" then
      inTable = true
    elseif inTable and not line:find("^| %-") then
      fn(cells[1], cells[2])
    end
  end
end

local function withCommas(number)
  local grouped = tostring(number):reverse():gsub("%d%d%d", "%0,"):reverse()
  return (grouped:gsub("^,", ""))
end

-- A default as the page writes it; nil where that has words of its own.
local function shown(setting)
  local value, unit = setting.default, setting.kind.unit
  if value == true then return "on" end
  if type(value) == "string" then return ('`"%s"`'):format(value) end
  if type(value) ~= "number" then return nil end
  if unit == "s" then return ("%g s"):format(value) end
  if unit ~= "bytes" then return withCommas(value) end
  if value % 2 ^ 20 == 0 then return ("%d MiB"):format(value / 2 ^ 20) end
  if value % 2 ^ 10 == 0 then return ("%d KiB"):format(value / 2 ^ 10) end
  return ("%d bytes"):format(value)
end

-- What is wrong with a page.
local function problems(page, known)
  local list, seen = {}, {}
  local function complain(...) list[#list + 1] = table.concat({...}) end
  eachRow(page, function(cell, default)
    local name, mark = cell:match("^`(%w+)`(.*)$")
    local setting = known[name or ""]
    if not setting then return complain(cell, " is no setting") end
    if seen[name] then complain(name, " stands twice") end
    seen[name] = true
    if (mark == " †") ~= (setting.onClass == true) then
      complain(name, setting.onClass and " lacks its †" or " has a †")
    end
    local wanted = shown(setting)
    if wanted and default ~= wanted then
      complain(name, "'s default is ", wanted, ", not ", default)
    end
  end)
  for name in pairs(known) do
    if not seen[name] then complain(name, " is missing") end
  end
  return list
end

describe("docs/settings.md", function()
  local page, known

  setup(function()
    local file = assert(io.open "docs/settings.md")
    page = file:read("*a")
    file:close()
    known = options.of(sync.Remote)
    for name, setting in pairs(options.of(sync.Room)) do known[name] = setting end
  end)

  it("has each setting once, with its default", function()
    assert.same({}, problems(page, known))
  end)

  it("is found wrong when it is", function()
    local function without(pattern, replacement)
      local changed, count = page:gsub(pattern, replacement)
      assert.equal(1, count)
      return problems(changed, known)
    end
    assert.same({"maxQueue is missing"}, without("| `maxQueue` |[^\n]*\n", ""))
    assert.same({"`maxQueues` is no setting", "maxQueue is missing"},
      without("| `maxQueue` ", "| `maxQueues` "))
    assert.same({"maxMessage's default is 64 KiB, not 65 KiB"},
      without("64 KiB | a client's", "65 KiB | a client's"))
    assert.same({"maxRooms lacks its †"}, without("`maxRooms` †", "`maxRooms`"))
    assert.same({"maxQueue stands twice"}, without("(| `maxQueue` |[^\n]*\n)", "%1%1"))
  end)
end)

describe("a setting", function()
  it("is declared once", function()
    local class = sync.Protocol:extend("Twice")
    assert.has_error(function()
      options.declare(class, {framing = options.setting {"raw", options.boolean}})
    end, "Twice.framing is declared twice")
  end)

  it("belongs to the class that declares it, and to those that extend it", function()
    assert.is_nil(options.of(sync.Protocol).resumeTime)
    local ok, message = options.merge(sync.Protocol:extend("Plain"), {encoding = "amf3"})
    assert.is_nil(ok)
    assert.matches("^unknown option encoding: ", message)
    assert.equal("amf3", options.merge(sync.Remote:extend("Game"), {encoding = "amf3"}).encoding)
  end)

  it("of a class that no listener serves is checked, too", function()
    local class = sync.Room:extend("Arena")
    assert.equal(20, options.check(class).patchRate)
    class.patchRate = 0
    local ok, message = options.check(class)
    assert.is_nil(ok)
    assert.equal("Arena.patchRate must be a number from 0.1 to 1000, not 0", message)
    class.patchRate, class.tickrate = 20, 60
    assert.equal("class Arena sets tickrate; did you mean tickRate?",
      select(2, options.check(class)))
  end)

  it("that lists classes of rooms takes nothing else", function()
    local class = sync.Remote:extend("Game")
    for _, wrong in ipairs {"Arena", {"Arena"}, {arena = sync.Room}} do
      class.rooms = wrong
      assert.matches("^Game.rooms must be a list of classes", select(2, options.merge(class, {})))
    end
    class.rooms = {sync.Room:extend("Arena")}
    assert.equal(class.rooms, options.merge(class, {}).rooms)
  end)

  it("of remoting is checked", function()
    local class = sync.Remote:extend("Game")
    class.resumeTime = "long"
    local ok, message = options.merge(class, {})
    assert.is_nil(ok)
    assert.equal('Game.resumeTime must be a number of seconds above 0, or false, not "long"',
      message)
  end)
end)
