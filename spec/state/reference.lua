--- A second reading of docs/state.md: patches as tables, to and from bytes and JSON, and what a
-- client makes of them. It shares no code with the core, and no haste either; the vectors are
-- made with it, and the core's patches read.
--
-- A patch is `{room, epoch, tick, input, snapshot, sections}`; a section is `{table, kind, …}`
-- of entries `{number, key, fields, mine}`, where `fields` are values by name, and `mine` is
-- true, false, or nil where private fields don't follow.

local ffi = require "ffi"
local cjson = require "cjson"

local reference = {}

local GONE, HIDDEN, NEW, SEEN, CHANGE = 0, 1, 2, 3, 4
reference.GONE, reference.HIDDEN, reference.CHANGE = GONE, HIDDEN, CHANGE
reference.NEW, reference.SEEN = NEW, SEEN

local function isAdd(section) return section.kind == NEW or section.kind == SEEN end

local MARK = 0xC1
local MOST_NUMBER = 1048575
local MOST = 2 ^ 53 - 1

-- Writing.

local function varint(n)
  local bytes = {}
  while n >= 128 do
    bytes[#bytes + 1] = string.char(n % 128 + 128)
    n = math.floor(n / 128)
  end
  return table.concat(bytes) .. string.char(n)
end

local function zigzag(n)
  return varint(n >= 0 and 2 * n or -2 * n - 1)
end

local function little(n, count)
  local bytes = {}
  for i = 1, count do
    bytes[i] = string.char(n % 256)
    n = math.floor(n / 256)
  end
  return table.concat(bytes)
end

local function text(s)
  return varint(#s) .. s
end

-- Bytes of a fixed one.
local function widthOf(kind)
  local most = math.floor((kind[3] - kind[2]) / kind[4] + 0.5)
  return most < 2 ^ 8 and 1 or most < 2 ^ 16 and 2 or most < 2 ^ 24 and 3 or 4
end

local writeValue

local function isLess(a, b)
  return a[1] < b[1]
end

-- The pairs of a map, in order.
function reference.pairsOf(map)
  local list = {}
  for key, value in pairs(map) do list[#list + 1] = {key, value} end
  table.sort(list, isLess)
  return list
end

local WRITERS = {
  bool = function(v) return string.char(v and 1 or 0) end,
  int8 = function(v) return little(v % 256, 1) end,
  uint8 = function(v) return little(v, 1) end,
  int16 = function(v) return little(v % 65536, 2) end,
  uint16 = function(v) return little(v, 2) end,
  int32 = zigzag,
  uint32 = varint,
  float32 = function(v) return ffi.string(ffi.new("float[1]", v), 4) end,
  float64 = function(v) return ffi.string(ffi.new("double[1]", v), 8) end,
  string = text,
  fixed = function(v, kind)
    return little(math.floor((v - kind[2]) / kind[4] + 0.5), widthOf(kind))
  end,
  list = function(v, kind)
    local parts = {varint(#v)}
    for i = 1, #v do parts[i + 1] = writeValue(v[i], kind[2]) end
    return table.concat(parts)
  end,
  map = function(v, kind)
    local list = reference.pairsOf(v)
    local parts = {varint(#list)}
    for _, pair in ipairs(list) do
      parts[#parts + 1] = kind[2] == "integer" and zigzag(pair[1]) or text(pair[1])
      parts[#parts + 1] = writeValue(pair[2], kind[3])
    end
    return table.concat(parts)
  end,
  record = function(v, kind)
    local parts = {}
    for i, field in ipairs(kind[2]) do parts[i] = writeValue(v[field[1]], field[2]) end
    return table.concat(parts)
  end,
}

function writeValue(value, kind)
  return WRITERS[type(kind) == "table" and kind[1] or kind](value, kind)
end

-- A mask and the values of those of `list` that are in `fields`; `first` is its bit 0.
local function writeFields(list, fields, first)
  local mask, parts = {}, {}
  for i = 0, math.floor(#list / 8) do mask[i] = 0 end
  if first then mask[0] = 1 end
  for i, field in ipairs(list) do
    local value = fields[field[1]]
    if value ~= nil then
      mask[math.floor(i / 8)] = mask[math.floor(i / 8)] + 2 ^ (i % 8)
      parts[#parts + 1] = writeValue(value, field[2])
    end
  end
  return string.char(unpack(mask, 0)) .. table.concat(parts)
end

--- The tables of a declaration, from 0 on.
function reference.tables(join)
  local tables = {[0] = {name = "", fields = join.state.fields or {}, private = {}}}
  for i, map in ipairs(join.state.maps or {}) do
    tables[i] = {name = map.name, keys = map.keys, fields = map.fields or {},
      private = map.private or {}}
  end
  return tables
end

local function writeEntry(entry, section, shape)
  if section.kind < NEW then return "" end
  local key = ""
  if isAdd(section) and shape.keys == "integer" then key = zigzag(entry.key) end
  if isAdd(section) and shape.keys == "string" then key = text(entry.key) end
  local private = entry.mine ~= nil
  return key .. writeFields(shape.fields, entry.fields, private) ..
    (private and writeFields(shape.private, entry.fields, entry.mine) or "")
end

--- A patch in its binary form.
function reference.write(join, patch)
  local tables = reference.tables(join)
  local parts = {string.char(MARK, patch.snapshot and 1 or 0), varint(patch.room),
    varint(patch.epoch), varint(patch.tick), varint(patch.input)}
  for _, section in ipairs(patch.sections) do
    parts[#parts + 1] = varint(8 * section.table + section.kind) .. varint(#section)
    local before = -1
    for _, entry in ipairs(section) do
      parts[#parts + 1] = varint(entry.number - before - 1)
      parts[#parts + 1] = writeEntry(entry, section, tables[section.table])
      before = entry.number
    end
  end
  return table.concat(parts)
end

-- Reading. What is wrong is an error.

local Reader = {}
Reader.__index = Reader

function Reader:bytes(count)
  if self.at + count - 1 > #self.data then error("it ends within a value", 0) end
  self.at = self.at + count
  return self.data:sub(self.at - count, self.at - 1)
end

function Reader:byte()
  return self:bytes(1):byte()
end

function Reader:varint()
  local n, scale = 0, 1
  for _ = 1, 8 do
    local byte = self:byte()
    n = n + byte % 128 * scale
    if byte < 128 then
      if n > MOST then break end
      return n
    end
    scale = scale * 128
  end
  error("a varint is too long", 0)
end

function Reader:zigzag()
  local n = self:varint()
  return n % 2 == 0 and n / 2 or -(n + 1) / 2
end

function Reader:little(count)
  local n, scale = 0, 1
  for _ = 1, count do
    n = n + self:byte() * scale
    scale = scale * 256
  end
  return n
end

function Reader:text()
  return self:bytes(self:varint())
end

-- How many follow, each of which takes a byte or more.
function Reader:count()
  local count = self:varint()
  if count > #self.data - self.at + 1 then error("it says more than there is", 0) end
  return count
end

local readValue

local function signed(n, bits)
  return n < 2 ^ (bits - 1) and n or n - 2 ^ bits
end

local function finite(n)
  if n ~= n or math.abs(n) == math.huge then error("a number is none", 0) end
  return n
end

local function within(n, most)
  if n > most then error("a number is beyond its type", 0) end
  return n
end

local READERS = {
  bool = function(r) return within(r:byte(), 1) == 1 end,
  int8 = function(r) return signed(r:byte(), 8) end,
  uint8 = function(r) return r:byte() end,
  int16 = function(r) return signed(r:little(2), 16) end,
  uint16 = function(r) return r:little(2) end,
  int32 = function(r)
    local n = r:zigzag()
    if n < -2 ^ 31 or n >= 2 ^ 31 then error("a number is beyond its type", 0) end
    return n
  end,
  uint32 = function(r) return within(r:varint(), 2 ^ 32 - 1) end,
  float32 = function(r)
    local value = ffi.new "float[1]"
    ffi.copy(value, r:bytes(4), 4)
    return finite(tonumber(value[0]))
  end,
  float64 = function(r)
    local value = ffi.new "double[1]"
    ffi.copy(value, r:bytes(8), 8)
    return finite(tonumber(value[0]))
  end,
  string = function(r) return r:text() end,
  fixed = function(r, kind)
    local most = math.floor((kind[3] - kind[2]) / kind[4] + 0.5)
    return kind[2] + within(r:little(widthOf(kind)), most) * kind[4]
  end,
  list = function(r, kind)
    local list = {}
    for i = 1, r:count() do list[i] = readValue(r, kind[2]) end
    return list
  end,
  map = function(r, kind)
    local map = {}
    for _ = 1, r:count() do
      local key
      if kind[2] == "integer" then key = r:zigzag() else key = r:text() end
      map[key] = readValue(r, kind[3])
    end
    return map
  end,
  record = function(r, kind)
    local record = {}
    for _, field in ipairs(kind[2]) do record[field[1]] = readValue(r, field[2]) end
    return record
  end,
}

function readValue(r, kind)
  return READERS[type(kind) == "table" and kind[1] or kind](r, kind)
end

-- Returns the mask's bit 0.
local function readFields(r, list, fields)
  local mask = {}
  for i = 0, math.floor(#list / 8) do mask[i] = r:byte() end
  local function bit(i) return math.floor(mask[math.floor(i / 8)] / 2 ^ (i % 8)) % 2 == 1 end
  for i, field in ipairs(list) do
    if bit(i) then fields[field[1]] = readValue(r, field[2]) end
  end
  for i = #list + 1, 8 * (math.floor(#list / 8) + 1) - 1 do
    if bit(i) then error("a bit is set that stands for nothing", 0) end
  end
  return bit(0)
end

local function readEntry(r, entry, section, shape)
  if section.kind < NEW then return end
  if isAdd(section) then
    entry.key = ""
    if shape.keys == "integer" then entry.key = r:zigzag() end
    if shape.keys == "string" then entry.key = r:text() end
  end
  entry.fields = {}
  if readFields(r, shape.fields, entry.fields) then
    entry.mine = readFields(r, shape.private, entry.fields)
  end
end

local function readSection(r, tables, before)
  local head = r:varint()
  local section = {table = math.floor(head / 8), kind = head % 8}
  if section.kind > CHANGE then error("there is no such kind", 0) end
  if head <= before then error("sections do not ascend", 0) end
  local shape = tables[section.table] or error("there is no such table", 0)
  local count, number = r:count(), -1
  if count == 0 then error("a section is empty", 0) end
  for i = 1, count do
    number = number + r:varint() + 1
    if number > MOST_NUMBER then error("an entity's number is too large", 0) end
    local entry = {number = number}
    readEntry(r, entry, section, shape)
    section[i] = entry
  end
  return section, head
end

--- A patch of its binary form.
-- @raise what is wrong
function reference.read(join, bytes)
  local r = setmetatable({data = bytes, at = 1}, Reader)
  if r:byte() ~= MARK then error("it begins with another byte", 0) end
  local flags = r:byte()
  if flags > 1 then error("there is an unknown flag", 0) end
  local patch = {snapshot = flags == 1, room = r:varint(), epoch = r:varint(),
    tick = r:varint(), input = r:varint(), sections = {}}
  local tables, before = reference.tables(join), -1
  while r.at <= #bytes do
    patch.sections[#patch.sections + 1], before = readSection(r, tables, before)
  end
  return patch
end

-- What a client has.

local function defaultOf(kind)
  local name = type(kind) == "table" and kind[1] or kind
  if name == "bool" then return false end
  if name == "string" then return "" end
  if name == "list" or name == "map" then return {} end
  return name == "fixed" and kind[2] or 0
end

--- A client that has nothing yet.
function reference.client(join)
  local client = {join = join, tables = reference.tables(join), tick = 0, input = 0}
  for i = 0, #client.tables do
    client.tables[i] = setmetatable({entities = {}}, {__index = client.tables[i]})
  end
  return client
end

--- A client that has the same: what doesn't fit leaves it half done.
function reference.copy(client)
  local copy = reference.client(client.join)
  for i = 0, #client.tables do
    for number, entity in pairs(client.tables[i].entities) do
      local fields = {}
      for name, value in pairs(entity.fields) do fields[name] = value end
      copy.tables[i].entities[number] = {key = entity.key, mine = entity.mine, fields = fields}
    end
  end
  copy.tick, copy.input = client.tick, client.input
  return copy
end

local function eachField(shape, visit)
  for _, list in ipairs {shape.fields, shape.private} do
    for _, field in ipairs(list) do visit(field[1], field[2], list == shape.private) end
  end
end

local function same(a, b)
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false end
  end
  for key in pairs(b) do
    if a[key] == nil then return false end
  end
  return true
end

local function names(shape, before, after)
  local list = {}
  eachField(shape, function(name)
    if not same(before[name], after[name]) then list[#list + 1] = name end
  end)
  table.sort(list)
  return list
end

local function added(shape, entry)
  local entity = {key = entry.key, mine = entry.mine == true, fields = {}}
  eachField(shape, function(name, kind)
    local value = entry.fields[name]
    if value == nil then value = defaultOf(kind) end
    entity.fields[name] = value
  end)
  return entity
end

local function change(shape, entity, entry)
  if entry.mine ~= nil then
    entity.mine = entry.mine
    if not entry.mine then
      for _, field in ipairs(shape.private) do entity.fields[field[1]] = defaultOf(field[2]) end
    end
  end
  local list = {}
  for name, value in pairs(entry.fields) do
    entity.fields[name] = value
    list[#list + 1] = name
  end
  table.sort(list)
  return list
end

local function applySection(client, section, told)
  local shape = client.tables[section.table]
  for _, entry in ipairs(section) do
    local entity = shape.entities[entry.number]
    if isAdd(section) == (entity ~= nil) then error("it does not fit what is there", 0) end
    if isAdd(section) then
      shape.entities[entry.number] = added(shape, entry)
      shape.entities[entry.number].why = section.kind == NEW and "new" or "seen"
      told[#told + 1] = {"add", shape.name, entry.key, shape.entities[entry.number].why}
    elseif section.kind == CHANGE then
      told[#told + 1] = {"change", shape.name, entity.key, change(shape, entity, entry)}
    else
      shape.entities[entry.number] = nil
      told[#told + 1] = {"remove", shape.name, entity.key,
        section.kind == GONE and "gone" or "hidden"}
    end
  end
end

-- What a snapshot tells of a table: what has gone, come, and changed. It can't say whether one
-- that isn't there has gone or is out of sight; but one whose number another has has gone.
local function compare(shape, before, after, told)
  for number = 0, MOST_NUMBER do
    local was, is = before[number], after[number]
    local isSame = was and is and was.key == is.key and is.why == "seen"
    if was and not isSame then
      told[#told + 1] = {"remove", shape.name, was.key, is and "gone" or "hidden"}
    end
    if is and not isSame then
      told[#told + 1] = {"add", shape.name, is.key, is.why}
    elseif is then
      local list = names(shape, was.fields, is.fields)
      if list[1] or was.mine ~= is.mine then
        told[#told + 1] = {"change", shape.name, is.key, list}
      end
    end
    if number > (shape.most or 1000) then break end
  end
end

--- Does what a patch says.
-- @treturn table what listeners are told
-- @raise when it doesn't fit; the client has half of it then
function reference.apply(client, patch)
  local told, before = {}, {}
  if patch.snapshot then
    for i = 0, #client.tables do
      before[i] = client.tables[i].entities
      client.tables[i].entities = {}
    end
  end
  for _, section in ipairs(patch.sections) do
    if patch.snapshot and not isAdd(section) then error("a snapshot holds adds alone", 0) end
    applySection(client, section, told)
  end
  if patch.snapshot then
    told = {}
    for i = 0, #client.tables do
      compare(client.tables[i], before[i], client.tables[i].entities, told)
    end
  end
  client.tick, client.input = patch.tick, patch.input
  return told
end

-- A value in JSON: maps are pairs.
local function plain(value, kind)
  local name = type(kind) == "table" and kind[1] or kind
  if name == "record" then
    local record = {}
    for _, field in ipairs(kind[2]) do record[field[1]] = plain(value[field[1]], field[2]) end
    return record
  end
  local list = {}
  if name == "list" then
    for i, element in ipairs(value) do list[i] = plain(element, kind[2]) end
  elseif name == "map" then
    for i, pair in ipairs(reference.pairsOf(value)) do
      list[i] = {pair[1], plain(pair[2], kind[3])}
    end
  else
    return value
  end
  return setmetatable(list, reference.list)
end

local function plainFields(shape, fields, sparse)
  local object = {}
  eachField(shape, function(name, kind)
    local value = fields[name]
    if value ~= nil and not (sparse and same(value, defaultOf(kind))) then
      object[name] = plain(value, kind)
    end
  end)
  return object
end

--- What a client has, as docs/state.md says for the vectors: the state, and what is its own.
function reference.view(client)
  local state, mine = {}, {}
  for i = 0, #client.tables do
    local shape = client.tables[i]
    local list, own = setmetatable({}, reference.list), setmetatable({}, reference.list)
    for _, entity in pairs(shape.entities) do
      if i == 0 then
        for name, value in pairs(plainFields(shape, entity.fields, true)) do state[name] = value end
      else
        list[#list + 1] = {entity.key, plainFields(shape, entity.fields, true)}
        if entity.mine then own[#own + 1] = entity.key end
      end
    end
    if i > 0 then
      table.sort(list, isLess)
      table.sort(own)
      state[shape.name], mine[shape.name] = list, own
    end
  end
  return state, mine
end

-- JSON, with keys in order, and empty lists as such.

reference.list = {__name = "list"}

local NUMBERS = {"%.0f", "%.6g", "%.7g", "%.8g", "%.9g", "%.14g", "%.17g"}

local function number(n)
  for _, format in ipairs(NUMBERS) do
    local written = format:format(n)
    if tonumber(written) == n then return written end
  end
end

--- A value as JSON. Tables with the metatable `reference.list` are arrays also if empty.
function reference.json(value)
  if type(value) == "number" then return number(value) end
  if type(value) ~= "table" then return cjson.encode(value) end
  local parts = {}
  if #value > 0 or getmetatable(value) == reference.list then
    for i = 1, #value do parts[i] = reference.json(value[i]) end
    return "[" .. table.concat(parts, ",") .. "]"
  end
  local keys = {}
  for key in pairs(value) do keys[#keys + 1] = key end
  table.sort(keys)
  for i, key in ipairs(keys) do
    parts[i] = cjson.encode(key) .. ":" .. reference.json(value[key])
  end
  return "{" .. table.concat(parts, ",") .. "}"
end

local NAMES = {[GONE] = "gone", [HIDDEN] = "hidden", [NEW] = "new", [SEEN] = "seen",
  [CHANGE] = "change"}

--- A patch in its JSON form, as a table.
function reference.object(client, patch)
  local object = {room = patch.room, epoch = patch.epoch, tick = patch.tick, input = patch.input,
    snapshot = patch.snapshot or nil}
  for _, section in ipairs(patch.sections) do
    local shape, list = client.tables[section.table], {}
    for i, entry in ipairs(section) do
      local fields = section.kind >= NEW and plainFields(shape, entry.fields)
      if isAdd(section) then list[i] = {entry.number, entry.key, fields, entry.mine}
      elseif section.kind == CHANGE then list[i] = {entry.number, fields, entry.mine}
      else list[i] = entry.number end
    end
    local kind = NAMES[section.kind]
    object[kind] = object[kind] or {}
    object[kind][shape.name] = list
  end
  return object
end

-- A value of its JSON.
local function unplain(value, kind)
  local name = type(kind) == "table" and kind[1] or kind
  if name == "list" then
    local list = {}
    for i, element in ipairs(value) do list[i] = unplain(element, kind[2]) end
    return list
  elseif name == "map" then
    local map = {}
    for _, pair in ipairs(value) do map[pair[1]] = unplain(pair[2], kind[3]) end
    return map
  elseif name == "record" then
    local record = {}
    for _, field in ipairs(kind[2]) do record[field[1]] = unplain(value[field[1]], field[2]) end
    return record
  end
  return name == "float32" and tonumber(ffi.new("float", value)) or value
end

local function readObjectEntry(shape, section, from)
  if section.kind < NEW then return {number = from} end
  local at = isAdd(section) and 3 or 2
  local entry = {number = from[1], key = isAdd(section) and from[2] or nil, fields = {},
    mine = from[at + 1]}
  eachField(shape, function(name, kind)
    local value = from[at][name]
    if value ~= nil then entry.fields[name] = unplain(value, kind) end
  end)
  for name in pairs(from[at]) do
    if entry.fields[name] == nil then error("there is no field " .. name, 0) end
  end
  return entry
end

--- A patch of its JSON form, as a table.
function reference.fromObject(join, object)
  local patch = {room = object.room, epoch = object.epoch, tick = object.tick,
    input = object.input, snapshot = object.snapshot or false, sections = {}}
  local tables = reference.tables(join)
  for kind = GONE, CHANGE do
    local byName = object[NAMES[kind]] or {}
    for i = 0, #tables do
      local list = byName[tables[i].name]
      if list then
        local section = {table = i, kind = kind}
        for place, from in ipairs(list) do
          section[place] = readObjectEntry(tables[i], section, from)
        end
        patch.sections[#patch.sections + 1] = section
      end
    end
  end
  return patch
end

return reference
