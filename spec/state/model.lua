--- Random lives of states, beside a model of them in plain tables.
--
-- A run has a declaration, entities that come, change, change hands and go, and members of all
-- forms that join, look elsewhere, are shown and hidden things, miss patches, start anew, and
-- leave. After each patch that a member gets, what a client makes of it (reference.lua) must be
-- the model's view for it; and of the markers that all strings hold, no other may be in the bytes
-- than those in fields that the member may see.
--
-- Some members are elsewhere, at one of two replicas, which lose what the home sends now and then.
-- What a replica writes for them must be, byte for byte, what the home writes.

local ffi = require "ffi"
local cjson = require "cjson"
local amf3 = require "sync.flash.amf3"
local amfwire = require "sync.flash.wire"
local core = require "sync.core"
local Replica = require "sync.state.replica"
local State = require "sync.state.state"
local tables = require "sync.state.tables"
local reference = require "spec.state.reference"
local sync = require "sync"

local C = core.C

-- A side trace of a loop over `pairs` in this file reads a pointer of which LuaJIT 2.1.0-beta3 has
-- kept the lower half: the bug is the compiler's, and comes in one of some thousand lives.
jit.off(true, true)

local model = {}

local random = math.random

local function pick(list)
  return list[random(#list)]
end

local function chance(percent)
  return random(100) <= percent
end

-- Declarations.

local SCALARS = {"bool", "int8", "uint8", "int16", "uint16", "int32", "uint32", "float32",
  "float64"}
local FIXED = {{0, 360, 0.5}, {-5, 5, 0.01}, {10, 20, 5}, {-1000, 1000, 0.0001}}

local function randomScalar()
  if chance(20) then
    local numbers = pick(FIXED)
    return sync.fixed(unpack(numbers)), {"fixed", unpack(numbers)}
  end
  if chance(30) then return "string", "string" end
  local name = pick(SCALARS)
  return name, name
end

local function randomRecord()
  local of, told = {}, {}
  for i = 1, random(3) do
    local kind
    of["r" .. i], kind = randomScalar()
    told[i] = {"r" .. i, kind}
  end
  return of, {"record", told}
end

local function randomType(inState)
  if chance(70) then return randomScalar() end
  local of, told
  local isRecord = chance(30)
  if isRecord then of, told = randomRecord() else of, told = randomScalar() end
  if inState and isRecord or chance(50) then return sync.listOf(of), {"list", told} end
  local keys = pick {"integer", "string"}
  return sync.map(of, {keys = keys}), {"map", keys, told}
end

-- Fields of a record: what is declared, and for the model the type by name, and who sees it.
local function randomFields(mayBePrivate)
  local declared, fields = {}, {}
  for i = 1, random(mayBePrivate and 12 or 4) do
    local name = ("f%02d"):format(i)
    local of, told = randomType(not mayBePrivate)
    local scope = "all"
    if mayBePrivate and chance(30) then scope = pick {"owner", "server"} end
    if scope == "owner" then of = sync.private(of) end
    if scope == "server" then of, told = sync.server "any", "string" end
    declared[name], fields[name] = of, {kind = told, scope = scope}
  end
  return declared, fields
end

local NEAR = 10
local function byFunction(member, entity)
  return (member.id + math.floor(entity.x)) % 3 == 0
end

local SEES = {all = function() return "all" end, shown = function() return "shown" end,
  near = function() return sync.near(NEAR) end, asked = function() return byFunction end}
local KINDS = {"all", "near", "asked", "shown"}

local function randomDeclaration()
  local declared, fields = randomFields(false)
  local plan = {root = {fields = fields, sees = "all"}, maps = {}}
  for i = 1, random(3) do
    local of, inner = randomFields(true)
    local sees, keys = pick(KINDS), pick {"integer", "string"}
    of.x, of.y = "float32", "float64"
    inner.x, inner.y = {kind = "float32", scope = "all"}, {kind = "float64", scope = "all"}
    declared["m" .. i] = sync.map(of, {keys = keys, sees = SEES[sees](), rate = 1000,
      budget = 1e6, most = 70})
    plan.maps[i] = {name = "m" .. i, fields = inner, sees = sees, keys = keys}
  end
  plan.schema = sync.state(declared)
  return plan
end

-- Types of C are never freed, and a process may have so many: declarations are used more than once.
local PLANS = 200
local plans = {}
local function planOf(seed)
  local i = seed % PLANS
  math.randomseed(i)
  plans[i] = plans[i] or randomDeclaration()
  return plans[i]
end

-- Values: what is written, and what a client gets.

local RANGES = {int8 = {-128, 127}, uint8 = {0, 255}, int16 = {-32768, 32767},
  uint16 = {0, 65535}, int32 = {-2 ^ 31, 2 ^ 31 - 1}, uint32 = {0, 2 ^ 32 - 1}}
local BIG = {float32 = 3.4028234663852886e38, float64 = 1.7976931348623157e308}
local ODD = {0, -0.0, 1, -1, 0.5, 1e9, -1e9, 1e300, math.huge, -math.huge, 0 / 0, 127.4, 127.5, 255}

local function clamp(value, min, max, default)
  if value ~= value then return default end
  return math.min(math.max(value, min), max)
end

local function sentNumber(value, kind)
  if type(kind) == "table" then
    local min, max, step = kind[2], kind[3], kind[4]
    value = clamp(value, min, max, min)
    local most = math.floor((max - min) / step + 0.5)
    return min + math.min(math.floor((value - min) / step + 0.5), most) * step
  elseif RANGES[kind] then
    return math.floor(clamp(value, RANGES[kind][1], RANGES[kind][2], 0) + 0.5)
  end
  value = clamp(value, -BIG[kind], BIG[kind], 0) + 0
  return kind == "float32" and tonumber(ffi.new("float", value)) or value
end

local Run = {}
Run.__index = Run

-- A text with a marker of its own, which the holder may be asked for.
function Run:text(holder)
  self.marker = self.marker + 1
  if holder then self.holders[self.marker] = holder end
  return pick {"", "é\"\\\n", "x"} .. ("<%d>"):format(self.marker)
end

-- A value of a type, and what is sent of it.
function Run:value(kind, holder)
  local name = type(kind) == "table" and kind[1] or kind
  if name == "string" then
    local value = chance(10) and "" or self:text(holder)
    return value, value
  elseif name == "bool" then
    local value = chance(50)
    return value, value
  elseif name == "record" then
    local value, sent = {}, {}
    for _, field in ipairs(kind[2]) do
      value[field[1]], sent[field[1]] = self:value(field[2], holder)
    end
    return value, sent
  elseif name == "list" or name == "map" then
    local value, sent = {}, {}
    for i = 1, random(0, 4) do
      local key = i
      if name == "map" then
        key = kind[2] == "integer" and random(-300, 300) or self:text(holder)
      end
      value[key], sent[key] = self:value(kind[name == "map" and 3 or 2], holder)
    end
    return value, sent
  end
  local value = chance(20) and pick(ODD) or chance(50) and random(-300, 300) or
    (random() - 0.5) * 10 ^ random(0, 6)
  return value, sentNumber(value, kind)
end

local function defaultOf(kind)
  local name = type(kind) == "table" and kind[1] or kind
  if name == "bool" then return false end
  if name == "string" then return "" end
  if name == "list" or name == "map" then return {} end
  return name == "fixed" and kind[2] or 0
end

-- Entities. One of the model has `sent` values by name, and what it is in the state.

function Run:add(map)
  local key = map.plan.keys == "integer" and random(-40, 40) or "k" .. random(40)
  local entity = {key = key, map = map, sent = {}, born = self.tick + 1}
  local fields = {x = random(0, 40), y = random(0, 40)}
  for name, field in pairs(map.plan.fields) do
    entity.sent[name] = defaultOf(field.kind)
    if name ~= "x" and name ~= "y" and chance(60) then
      fields[name], entity.sent[name] = self:value(field.kind, {entity = entity, name = name})
    end
  end
  entity.sent.x, entity.sent.y = fields.x, fields.y
  local owner = chance(50) and self.members[1] and pick(self.members) or nil
  fields.owner, entity.owner = owner, owner
  self.state.root[map.plan.name][key] = fields
  if map.entities[key] then map.entities[key].isGone = true end
  map.entities[key] = entity
  entity.p = self.state.root[map.plan.name][key]
end

local function anyOf(entities)
  local list = {}
  for _, entity in pairs(entities) do list[#list + 1] = entity end
  return list[1] and pick(list)
end

function Run:remove(map)
  local entity = anyOf(map.entities)
  if not entity then return end
  self.state.root[map.plan.name][entity.key] = nil
  map.entities[entity.key] = nil
  entity.isGone = true
  self.held = entity.p -- what a handler still has
end

local function isPlace(map, name)
  return map and (name == "x" or name == "y")
end

-- Changes a list or a map, bit by bit.
function Run:edit(p, entity, name, kind)
  local object = p[name]
  local sent = {}
  for key, value in pairs(entity.sent[name]) do sent[key] = value end
  local holder = {entity = entity, name = name}
  if kind[1] == "list" then
    if #sent > 0 and chance(40) then
      local i = random(#sent)
      object:remove(i)
      table.remove(sent, i)
    else
      local value, is = self:value(kind[2], holder)
      object:add(value)
      sent[#sent + 1] = is
    end
  else
    local key = next(sent)
    if key ~= nil and chance(40) then
      object:set(key, nil)
      sent[key] = nil
    else
      key = kind[2] == "integer" and random(-300, 300) or self:text(holder)
      local value, is = self:value(kind[3], holder)
      object:set(key, value)
      sent[key] = is
    end
  end
  entity.sent[name] = sent
end

-- Writes a field of an entity, or of the state itself.
function Run:change(entity, fields)
  local names = {}
  for name in pairs(fields) do names[#names + 1] = name end
  local name = pick(names)
  local kind = fields[name].kind
  if isPlace(entity.map, name) then
    local value = math.max(0, math.min(60, entity.sent[name] + random(-6, 6)))
    entity.p[name], entity.sent[name] = value, value
  elseif (kind[1] == "list" or kind[1] == "map") and chance(60) then
    self:edit(entity.p, entity, name, kind)
  else
    local value, sent = self:value(kind, {entity = entity, name = name})
    entity.p[name] = value
    entity.sent[name] = sent
  end
end

-- Members.

local FORMS = {[0] = "binary", "json", "amf3"}

function Run:join()
  local form = random(0, 2)
  local member = {form = FORMS[form], number = C.sync_state_join(self.state.handle, form),
    client = reference.client(self.joined), had = {}, sights = {}, renew = true, input = 0,
    told = 0, last = self.tick}
  self.lastMember = self.lastMember + 1
  member.id = self.lastMember
  if self.replicas and chance(50) then self:move(member) end
  member.room = true
  self.members[#self.members + 1] = member
end

-- It goes to a replica, to another, or home.
function Run:move(member)
  member.replica = not (member.replica and chance(50)) and pick(self.replicas) or nil
  member.isAttached = false
  C.sync_state_elsewhere(self.state.handle, member.number, member.replica and member.id or 0)
  self:anew(member)
end

-- Its connection is a new one: as far as the home writes for it.
function Run:anew(member)
  C.sync_state_connect(self.state.handle, member.number, 1)
  member.renew, member.last = true, self.tick
end

function Run:leave()
  local at = random(#self.members)
  local member = self.members[at]
  C.sync_state_leave(self.state.handle, member.number)
  member.number = 0
  table.remove(self.members, at)
  for _, map in ipairs(self.maps) do
    for _, entity in pairs(map.entities) do
      if entity.owner == member then entity.owner = nil end
    end
  end
end

-- What is shown, hidden or neither.
function Run:sight(member)
  local entity = anyOf(pick(self.maps).entities)
  if not entity then return end
  local which = random(0, 2)
  local side = require("sync.state.record").side(entity.p)
  C.sync_state_sight(self.state.handle, member.number, side.table, side.number, which)
  member.sights[entity] = which
end

function Run:look(member)
  if member.look and chance(50) then
    member.look = nil
    C.sync_state_look(self.state.handle, member.number, 0, 0, 0)
  else
    member.look = {random(0, 60), random(0, 60)}
    C.sync_state_look(self.state.handle, member.number, 1, member.look[1], member.look[2])
  end
end

-- The model's view.

local function numberOf(entity)
  return require("sync.state.record").side(entity.p).number
end

-- The place of the entity with the lowest number that a member owns in a map.
local function placeIn(map, member)
  local best
  for _, entity in pairs(map.entities) do
    if entity.owner == member and (not best or numberOf(entity) < numberOf(best)) then
      best = entity
    end
  end
  if best then return best.sent.x, best.sent.y end
end

function Run:stands(map, member)
  if member.look then return unpack(member.look) end
  local x, y = placeIn(map, member)
  for _, other in ipairs(self.maps) do
    if not x and other.plan.sees == "near" then x, y = placeIn(other, member) end
  end
  return x, y
end

function Run:sees(map, member, entity, x, y)
  local sight = member.sights[entity]
  if sight == 2 then return false end
  if sight == 1 or entity.owner == member then return true end
  local rule = map.plan.sees
  if rule == "all" then return true end
  if rule == "asked" then return byFunction(member, entity.sent) end
  if rule == "shown" or not x then return false end
  local distance = (entity.sent.x - x) ^ 2 + (entity.sent.y - y) ^ 2
  local far = 1.1 * NEAR
  return distance <= NEAR ^ 2 or distance <= far * far and member.had[entity] == true
end

local function fieldsFor(entity, fields, own)
  local list = {}
  for name, field in pairs(fields) do
    if field.scope == "all" then list[name] = entity.sent[name] end
    if field.scope == "owner" then
      list[name] = own and entity.sent[name] or defaultOf(field.kind)
      if own and entity.sent[name] ~= nil then list[name] = entity.sent[name] end
    end
  end
  return list
end

function Run:view(member)
  local view, had = {}, {}
  for _, map in ipairs(self.maps) do
    local list = {}
    local x, y = self:stands(map, member)
    for key, entity in pairs(map.entities) do
      if self:sees(map, member, entity, x, y) then
        had[entity] = true
        local own = entity.owner == member
        list[key] = {mine = own, fields = fieldsFor(entity, map.plan.fields, own)}
      end
    end
    view[map.plan.name] = list
  end
  view[""] = {[""] = {mine = false, fields = fieldsFor(self.root, self.plan.root.fields)}}
  return view, had
end

-- JSON says the steps of a fixed number with 14 digits.
local function same(a, b)
  if type(a) == "number" and type(b) == "number" then
    return a == b or ("%.14g"):format(a) == ("%.14g"):format(b)
  end
  if type(a) ~= "table" or type(b) ~= "table" then return a == b end
  for key, value in pairs(a) do
    if not same(value, b[key]) then return false, key end
  end
  for key in pairs(b) do
    if a[key] == nil then return false, key end
  end
  return true
end

local function show(value)
  if type(value) ~= "table" then return tostring(value) end
  local parts = {}
  for key, inner in pairs(value) do parts[#parts + 1] = tostring(key) .. "=" .. show(inner) end
  table.sort(parts)
  return "{" .. table.concat(parts, ", ") .. "}"
end

function Run:failed(what, ...)
  error(("model: seed %d, step %d: %s"):format(self.seed, self.step, what:format(...)), 0)
end

local function entitiesOf(shape)
  local list = {}
  for _, entity in pairs(shape.entities) do list[entity.key] = entity end
  return list
end

function Run:compare(member, view)
  for i = 0, #member.client.tables do
    local shape = member.client.tables[i]
    local has, wants = entitiesOf(shape), view[shape.name]
    for key, wanted in pairs(wants) do
      local entity = has[key]
      if not entity then self:failed("member %d lacks %s[%s]", member.id, shape.name, key) end
      local ok, field = same(entity.fields, wanted.fields)
      if not ok then
        self:failed("member %d has %s[%s].%s = %s instead of %s", member.id, shape.name, key, field,
          show(entity.fields[field]), show(wanted.fields[field]))
      end
      if entity.mine ~= wanted.mine then
        self:failed("member %d takes %s[%s] for its own: %s", member.id, shape.name, key,
          entity.mine)
      end
    end
    for key in pairs(has) do
      if not wants[key] then self:failed("member %d has %s[%s]", member.id, shape.name, key) end
    end
  end
end

function Run.isOwner(_, member, entity)
  return entity.owner == member
end

-- Every marker in the bytes must be in a field that the member sees now.
function Run:lookForMarkers(member, bytes, had)
  for marker in bytes:gmatch("<(%d+)>") do
    local holder = self.holders[tonumber(marker)]
    local entity = holder.entity
    local field = entity == self.root and self.plan.root.fields[holder.name] or
      entity ~= self.root and entity.map.plan.fields[holder.name]
    local may = (entity == self.root or had[entity]) and (field.scope == "all" or
      field.scope == "owner" and self:isOwner(member, entity))
    if not may then self:failed("member %d was sent %s, of %s", member.id, marker, holder.name) end
  end
end

function Run:read(member, bytes)
  if member.form == "binary" then return reference.read(self.joined, bytes) end
  if member.form == "json" then
    return reference.fromObject(self.joined, cjson.decode(bytes).params[1])
  end
  local ok, message = amf3.decode(bytes, 1, {depth = 32})
  if not ok then self:failed("this is no AMF3: %s", message) end
  return reference.read(self.joined, message.params[1].data)
end

-- What is new must have come since the member's last patch; what was there is "seen".
function Run:checkNew(member, patch)
  for _, section in ipairs(patch.sections) do
    local map = self.maps[section.table]
    for _, entry in ipairs(map and section or {}) do
      local entity = map.entities[entry.key]
      local isNew = entity and entity.born > member.last
      if (section.kind == reference.NEW and not isNew) or
        (section.kind == reference.SEEN and isNew) then
        self:failed("member %d: %s is taken for %s", member.id, tostring(entry.key),
          isNew and "seen" or "new")
      end
    end
  end
end

-- Gives a replica what the home has made. Returns whether it follows.
function Run:bring(replica, changes, snapshot)
  replica.follows = false
  for _, bytes in ipairs {changes or false, snapshot or false} do
    if bytes and not chance(replica.losing) then
      local took = replica:apply(bytes)
      if took < 0 then self:failed("a replica has refused bytes: %d", took) end
      if took == C.SYNC_APPLIED then
        replica.follows = true
        for _, member in ipairs(self.members) do
          if member.replica == replica and bytes == snapshot then member.isAttached = false end
        end
      elseif took == C.SYNC_APPLIED_MISSED and not snapshot then
        self.state:want()
      end
    end
  end
end

-- The member's number at its replica; nil: it isn't there yet.
function Run:attach(member)
  local handle = member.replica.handle
  local number = C.sync_state_find(handle, member.id)
  if not member.isAttached then
    if number == 0 then self:failed("member %d isn't at its replica", member.id) end
    C.sync_state_read(handle, number, tables.form(handle, member.form))
    C.sync_state_connect(handle, number, 1)
    member.isAttached = true
    self:anew(member)
    member.last = self.tick - 1
  end
  return number
end

-- The bytes for a member, which a replica and the home agree about.
function Run:write(member)
  local replica = member.replica
  local number = replica and self:attach(member)
  local bytes = self.state:write(member.number, self.tick)
  if replica then
    self.elsewhere = self.elsewhere + (bytes and 1 or 0)
    if replica:write(number, self.tick) ~= bytes then
      self:failed("member %d gets something else of its replica", member.id)
    end
  end
  return bytes
end

function Run:patch()
  self.tick = self.tick + 1
  self.state:ask(self.members, 1000)
  self.state:compare()
  C.sync_state_copy(self.state.handle, self.tick)
  local changes, snapshot = self.state:copied()
  for _, replica in ipairs(self.replicas) do self:bring(replica, changes, snapshot) end
  for _, member in ipairs(self.members) do
    local view, had = self:view(member)
    member.had = had
    if not chance(member.slow or 0) and (not member.replica or member.replica.follows) then
      local bytes = self:write(member)
      if bytes then
        local patch = self:read(member, bytes)
        if patch.snapshot ~= member.renew or patch.tick ~= self.tick or
          patch.input ~= member.input then
          self:failed("member %d: the head of its patch is wrong", member.id)
        end
        reference.apply(member.client, patch)
        self:checkNew(member, patch)
        self:lookForMarkers(member, bytes, had)
        self.patches, self.bytes = self.patches + 1, self.bytes + #bytes
      elseif member.renew or member.input ~= member.told then
        self:failed("member %d, %s: nothing was sent; %s, %d after %d", member.id, member.form,
          tostring(member.renew), member.input, member.told)
      end
      member.renew, member.told, member.last = false, member.input, self.tick
      self:compare(member, view)
    end
  end
  for _, replica in ipairs(self.replicas) do
    if replica.follows then replica:finish() end
  end
  C.sync_state_end_patch(self.state.handle)
end

local ACTIONS = {
  function(self) self:add(pick(self.maps)) end,
  function(self) self:add(pick(self.maps)) end,
  function(self) self:remove(pick(self.maps)) end,
  function(self) self:change(self.root, self.plan.root.fields) end,
  function(self)
    local map = pick(self.maps)
    local entity = anyOf(map.entities)
    if entity then self:change(entity, map.plan.fields) end
  end,
  function(self)
    local entity, member = anyOf(pick(self.maps).entities), self.members[1] and pick(self.members)
    if not entity then return end
    if chance(30) then member = nil end
    entity.p.owner, entity.owner = member or nil, member or nil
  end,
  function(self) if #self.members < 6 then self:join() end end,
  function(self) if self.members[1] and chance(40) then self:leave() end end,
  function(self) if self.members[1] then self:sight(pick(self.members)) end end,
  function(self) if self.members[1] then self:look(pick(self.members)) end end,
  function(self)
    if not self.members[1] then return end
    local member = pick(self.members)
    member.slow = pick {0, 0, 50, 90}
  end,
  function(self) -- it comes back, or asks for a snapshot
    if not self.members[1] or chance(50) then return end
    local member = pick(self.members)
    member.renew = true
    C.sync_state_renew(self.state.handle, member.number)
    if member.replica then
      C.sync_state_renew(member.replica.handle, C.sync_state_find(member.replica.handle, member.id))
    end
    if chance(50) then member.client = reference.client(self.joined) end
  end,
  function(self)
    if self.members[1] and self.replicas and chance(30) then self:move(pick(self.members)) end
  end,
  function(self)
    if not self.members[1] then return end
    local member = pick(self.members)
    member.input = member.input + random(1, 200)
    C.sync_state_input(self.state.handle, member.number, member.input)
  end,
  function(self) if self.held then self.held.x = -1e9 end end,
}
for _ = 1, 8 do -- writes are the most of it
  table.insert(ACTIONS, ACTIONS[5])
end

--- The model of a state that has nothing yet.
-- @tparam number seed
-- @tparam function makeState of a plan
function model.new(seed, makeState)
  local plan = planOf(seed)
  math.randomseed(seed)
  local self = setmetatable({seed = seed, step = 0, plan = plan, maps = {}, members = {},
    lastMember = 0, marker = 0, holders = {}, tick = 0, patches = 0, bytes = 0, elsewhere = 0}, Run)
  self.joined = {state = plan.schema:told()}
  self.state = makeState(plan)
  self.root = {p = self.state.root, sent = {}}
  for name, field in pairs(plan.root.fields) do self.root.sent[name] = defaultOf(field.kind) end
  for i, of in ipairs(plan.maps) do self.maps[i] = {plan = of, entities = {}} end
  return self
end

function Run:replica()
  local replica = Replica.new(self.plan.schema, self.state.number)
  replica.losing = pick {0, 0, 3, 20}
  return replica
end

--- Does something.
function Run:act(actions)
  self.step = self.step + 1
  if chance(25) then self:patch() else pick(actions)(self) end
end

--- Lives through one state.
-- @tparam number seed
-- @tparam number steps
-- @treturn table how many `patches` there were, and their `bytes`
-- @raise what was wrong, with the seed
function model.run(seed, steps)
  local self = model.new(seed, function(plan)
    local number = random(3) == 1 and 2 ^ 32 - 1 or random(200)
    local state = State.new(plan.schema, number)
    state.number = number
    C.sync_state_envelope(state.handle, model.envelope, model.head, #model.envelope)
    return state
  end)
  self.replicas = {self:replica(), self:replica()}
  for _ = 1, steps do self:act(ACTIONS) end
  for _, member in ipairs(self.members) do member.slow = 0 end
  for _, replica in ipairs(self.replicas) do replica.losing = 0 end
  for _ = 1, 3 do self:patch() end -- all are up to date
  for _, member in ipairs(self.members) do
    if member.last ~= self.tick then self:failed("member %d gets nothing", member.id) end
  end
  self.state:clear()
  return self
end

model.Run, model.actions = Run, ACTIONS
model.head, model.envelope = amfwire.around("sync.patch")

return model
