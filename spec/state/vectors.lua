--- Writes the test vectors that docs/state.md describes: `luajit spec/state/vectors.lua`.

local reference = require "spec.state.reference"

local GONE, HIDDEN, NEW, SEEN, CHANGE =
  reference.GONE, reference.HIDDEN, reference.NEW, reference.SEEN, reference.CHANGE

local function hex(bytes)
  return (bytes:gsub(".", function(byte) return ("%02x"):format(byte:byte()) end))
end

local function bytesOf(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

local function list(items)
  return setmetatable(items, reference.list)
end

local function join(fields, maps)
  for _, map in ipairs(maps) do
    list(map.fields)
    if map.private then list(map.private) end
  end
  return {room = 1, name = "Arena", member = 3, epoch = 0, tickRate = 30, patchRate = 20,
    start = 8123.25, state = {fields = fields[1] and list(fields), maps = maps[1] and list(maps)}}
end

local File = {}
File.__index = File

local function file(name, joined)
  return setmetatable({name = name, join = joined, steps = {}, tick = 0,
    client = reference.client(joined)}, File)
end

-- A patch of these sections; `head` may say more.
function File:patch(what, sections, head)
  self.tick = self.tick + 1
  local patch = {room = 1, epoch = 0, tick = self.tick, input = 0, sections = sections}
  for key, value in pairs(head or {}) do patch[key] = value end
  local step = {what = what, binary = hex(reference.write(self.join, patch)),
    json = reference.object(self.client, patch), tick = patch.tick, input = patch.input}
  step.told = list(reference.apply(self.client, reference.read(self.join, bytesOf(step.binary))))
  for _, told in ipairs(step.told) do
    if type(told[4]) == "table" then list(told[4]) end
  end
  step.state, step.mine = reference.view(self.client)
  self.steps[#self.steps + 1] = step
end

-- Bytes that are to be refused.
function File:refuse(what, text)
  local binary = text:gsub("%s", "")
  local ok = pcall(function()
    reference.apply(reference.copy(self.client), reference.read(self.join, bytesOf(binary)))
  end)
  assert(not ok, what)
  self.steps[#self.steps + 1] = {refused = what, binary = binary}
end

function File:save()
  local steps = {}
  for i, step in ipairs(self.steps) do steps[i] = "  " .. reference.json(step) end
  local out = assert(io.open(("spec/state/vectors/%s.json"):format(self.name), "w"))
  out:write('{"join":', reference.json(self.join), ',\n "steps":[\n', table.concat(steps, ",\n"),
    "\n]}\n")
  out:close()
end

-- Every type, at its bounds.

local RECORD = {"record", list {{"kind", "uint8"}, {"name", "string"}}}
local scalars = file("types", join({
  {"b", "bool"}, {"f32", "float32"}, {"f64", "float64"}, {"i16", "int16"}, {"i32", "int32"},
  {"i8", "int8"}, {"items", {"list", RECORD}}, {"p1", {"fixed", 0, 360, 2}},
  {"p2", {"fixed", -100, 100, 0.01}}, {"p3", {"fixed", 0, 100000, 0.01}},
  {"p4", {"fixed", 0, 4e9, 1}}, {"s", "string"}, {"scores", {"map", "integer", "int32"}},
  {"tags", {"map", "string", "string"}}, {"u16", "uint16"}, {"u32", "uint32"}, {"u8", "uint8"},
  {"words", {"list", "string"}},
}, {}))
local function root(kind, fields)
  return {{table = 0, kind = kind, {number = 0, key = "", fields = fields}}}
end
scalars:patch("all at their defaults", root(NEW, {}), {snapshot = true})
scalars:patch("the largest", root(CHANGE, {b = true, f32 = 3.4028234663852886e38,
  f64 = 1.7976931348623157e308, i8 = 127, i16 = 32767, i32 = 2147483647, p1 = 360, p2 = 100,
  p3 = 100000, p4 = 4e9, u8 = 255, u16 = 65535, u32 = 4294967295}))
scalars:patch("the smallest", root(CHANGE, {b = false, f32 = -1.401298464324817e-45,
  f64 = -5e-324, i8 = -128, i16 = -32768, i32 = -2147483648, p1 = 0, p2 = -100, p3 = 0, p4 = 0,
  u8 = 0, u16 = 0, u32 = 0}))
scalars:patch("in between", root(CHANGE, {f32 = 0.10000000149011612, f64 = 0.1, i8 = -1,
  i16 = -2, i32 = -3, p1 = 182, p2 = 12.5, p3 = 655.5, p4 = 65536, u32 = 128}))
scalars:patch("strings, lists and maps", root(CHANGE, {s = "Ärger \"\\\n\1 😀",
  words = {"", "one", "zwei"}, scores = {[-5] = -1, [0] = 0, [300] = 1000000},
  items = {{kind = 1, name = "sword"}, {kind = 0, name = ""}},
  tags = {b = "x", a = "y", [""] = ""}}))
scalars:patch("and none of these again", root(CHANGE, {s = "", words = {}, scores = {},
  items = {}, tags = {}}))
scalars:patch("a long string", root(CHANGE, {s = ("0123456789"):rep(20)}), {tick = 300,
  input = 2 ^ 40, room = 1})
scalars:patch("nothing but an input", {}, {tick = 301, input = 2 ^ 53 - 1})
scalars:save()

-- Entities that come and go.

local PLAYERS = {name = "players", keys = "integer",
  fields = {{"aim", {"fixed", 0, 360, 0.5}}, {"hp", "uint8"}, {"name", "string"},
    {"x", "float32"}, {"y", "float32"}},
  private = {{"bag", {"map", "string", RECORD}}, {"gold", "uint32"},
    {"hand", list {"list", "uint8"}}}}
local ITEMS = {name = "items", keys = "string", fields = {{"count", "uint16"}}}

local arena = file("entities", join({{"phase", "string"}}, {PLAYERS, ITEMS}))
arena:patch("a snapshot", {
  {table = 0, kind = SEEN, {number = 0, key = "", fields = {phase = "wait"}}},
  {table = 1, kind = NEW, {number = 0, key = 3, mine = true, fields = {hp = 100, name = "ann"}}},
  {table = 1, kind = SEEN, {number = 1, key = -7, fields = {x = 1.5, y = -2}}},
  {table = 2, kind = SEEN, {number = 5, key = "apple", fields = {count = 2}}},
}, {snapshot = true})
arena:patch("one moves, and one's own hand", {
  {table = 1, kind = CHANGE, {number = 0, mine = true, fields = {hand = {1, 2}, x = 4}},
    {number = 1, fields = {x = 2.5}}},
}, {input = 17})
arena:patch("private fields alone", {
  {table = 1, kind = CHANGE, {number = 0, mine = true, fields = {gold = 700,
    bag = {sword = {kind = 1, name = "old"}, [""] = {kind = 0, name = ""}}}}}})
arena:patch("out of sight, and gone", {
  {table = 0, kind = CHANGE, {number = 0, fields = {phase = "play"}}},
  {table = 1, kind = HIDDEN, {number = 1}},
  {table = 2, kind = GONE, {number = 5}},
})
arena:patch("into sight, with other numbers", {
  {table = 1, kind = SEEN, {number = 2, key = -7, fields = {x = 2.5, y = -2}},
    {number = 200, key = 2 ^ 40, fields = {name = "far"}},
    {number = 201, key = -(2 ^ 40), fields = {}}},
  {table = 2, kind = NEW, {number = 5, key = "", fields = {count = 65535}}},
})
arena:patch("removed and set again", {
  {table = 1, kind = GONE, {number = 0}, {number = 2}},
  {table = 1, kind = NEW, {number = 0, key = 9, fields = {hp = 1}},
    {number = 2, key = -7, fields = {hp = 2}}},
})
arena:patch("it is given to the member", {
  {table = 1, kind = CHANGE, {number = 2, mine = true, fields = {hand = {9}, hp = 3}}}})
arena:patch("and taken away", {
  {table = 1, kind = CHANGE, {number = 2, mine = false, fields = {}}}})
arena:patch("new and into sight in one patch", {
  {table = 1, kind = NEW, {number = 3, key = 70, fields = {hp = 7}}},
  {table = 1, kind = SEEN, {number = 4, key = 71, fields = {hp = 8}}},
  {table = 1, kind = CHANGE, {number = 2, fields = {hp = 4}}},
})
arena:patch("a snapshot, of which the client works out the changes", {
  {table = 0, kind = SEEN, {number = 0, key = "", fields = {phase = "play"}}},
  {table = 1, kind = NEW, {number = 1, key = 12, fields = {}},
    {number = 3, key = 70, fields = {hp = 7}}},
  {table = 1, kind = SEEN, {number = 0, key = 9, fields = {hp = 5}},
    {number = 200, key = 2 ^ 40, mine = true, fields = {name = "far", hand = {1}}},
    {number = 201, key = 8, fields = {}}},
}, {snapshot = true})
arena:patch("nobody is left", {{table = 0, kind = SEEN, {number = 0, key = "", fields = {}}}},
  {snapshot = true})
arena:save()

-- What is refused. The state has one entity, number 0 of players, all along.

local refused = file("refused", join({{"phase", "string"}}, {PLAYERS, ITEMS}))
refused:patch("one entity", {
  {table = 1, kind = NEW, {number = 0, key = 3, mine = true, fields = {hp = 100}}}},
  {snapshot = true})
refused:refuse("nothing", "")
refused:refuse("another first byte", "c2 00 01 00 02 00")
refused:refuse("an unknown flag", "c1 02 01 00 02 00")
refused:refuse("no room", "c1 00")
refused:refuse("a varint of nine bytes", "c1 00 01 00 ff ff ff ff ff ff ff ff 01 00")
refused:refuse("a varint beyond 2^53", "c1 00 01 00 ff ff ff ff ff ff ff 7f 00")
refused:refuse("an unknown table", "c1 00 01 00 02 00 18 01 00")
refused:refuse("an unknown kind", "c1 00 01 00 02 00 0d 01 00 00")
refused:refuse("an empty section", "c1 00 01 00 02 00 0c 00")
refused:refuse("sections that do not ascend", "c1 00 01 00 02 00 0c 01 00 00 0c 01 00 00")
refused:refuse("more entries than bytes", "c1 00 01 00 02 00 08 ff ff ff 7f 00")
refused:refuse("a number too large", "c1 00 01 00 02 00 0a 01 80 80 40 06 00")
refused:refuse("an add of one that is there", "c1 00 01 00 02 00 0a 01 00 06 00")
refused:refuse("a change of none", "c1 00 01 00 02 00 0c 01 01 00")
refused:refuse("a removal of none", "c1 00 01 00 02 00 08 01 01")
refused:refuse("a change in a snapshot", "c1 01 01 00 02 00 0c 01 00 00")
refused:refuse("a bit for no field", "c1 00 01 00 02 00 0c 01 00 40")
refused:refuse("a private bit for no field", "c1 00 01 00 02 00 0c 01 00 01 11")
refused:refuse("a string that ends too early", "c1 00 01 00 02 00 0c 01 00 08 05 61")
refused:refuse("a number that is none", "c1 00 01 00 02 00 0c 01 00 10 00 00 c0 7f")
refused:refuse("more steps than there are", "c1 00 01 00 02 00 0c 01 00 02 d1 02")
refused:refuse("a list with more than there is", "c1 00 01 00 02 00 0c 01 00 01 09 ff 01 02")
refused:refuse("a byte too many", "c1 00 01 00 02 00 0c 01 00 04 05 00")
refused:patch("it is as it was", {{table = 1, kind = CHANGE, {number = 0, fields = {hp = 99}}}})
refused:save()
