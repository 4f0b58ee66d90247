-- The test vectors: the files are what their script writes, and the core writes the same.

local cjson = require "cjson"
local core = require "sync.core"
local State = require "sync.state.state"
local reference = require "spec.state.reference"
local sync = require "sync"

local C = core.C

local function read(name)
  local file = assert(io.open("spec/state/vectors/" .. name .. ".json"))
  local text = file:read("*a")
  file:close()
  return text
end

-- A declaration of what clients are told of it.
local function declare(told)
  if type(told) ~= "table" then return told end
  if told[1] == "fixed" then return sync.fixed(unpack(told, 2)) end
  if told[1] == "list" then return sync.listOf(declare(told[2])) end
  if told[1] == "map" then return sync.map(declare(told[3]), {keys = told[2]}) end
  local record = {}
  for _, field in ipairs(told[2]) do record[field[1]] = declare(field[2]) end
  return record
end

-- A value of its JSON: maps are pairs there.
local function value(json, told)
  if told[1] ~= "map" or type(told) ~= "table" then return json end
  local map = {}
  for _, pair in ipairs(json) do map[pair[1]] = pair[2] end
  return map
end

describe("the test vectors", function()
  it("are what their script writes", function()
    local before = {}
    for _, name in ipairs {"types", "entities", "refused"} do before[name] = read(name) end
    dofile "spec/state/vectors.lua"
    for name, text in pairs(before) do assert.equal(text, read(name)) end
  end)

  it("of types are what the core writes", function()
    local vectors = cjson.decode(read "types")
    local declared, kinds = {}, {}
    for _, field in ipairs(vectors.join.state.fields) do
      declared[field[1]], kinds[field[1]] = declare(field[2]), field[2]
    end
    local state = State.new(sync.state(declared), 1)
    local binary = C.sync_state_join(state.handle, C.SYNC_FORM_BINARY)
    local json = C.sync_state_join(state.handle, C.SYNC_FORM_JSON)
    for _, step in ipairs(vectors.steps) do
      for name, given in pairs((step.json.change or {[""] = {{0, {}}}})[""][1][2]) do
        state.root[name] = value(given, kinds[name])
      end
      for _, member in ipairs {binary, json} do
        C.sync_state_input(state.handle, member, step.input)
      end
      state:compare()
      local bytes = state:write(binary, step.tick)
      assert.equal(step.binary, (bytes:gsub(".", function(byte)
        return ("%02x"):format(byte:byte())
      end)), step.what)
      local object = cjson.decode(state:write(json, step.tick)).params[1]
      local join = vectors.join -- by which a float32 is rounded
      assert.same(reference.fromObject(join, step.json), reference.fromObject(join, object))
      state:finish()
    end
  end)
end)
