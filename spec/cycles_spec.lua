-- The check of files of src/ that need each other, on symbols that are seeded with circles.

local cycles = dofile ".ci/cycles.lua"

local function set(text)
  local names = {}
  for name in text:gmatch("%S+") do names[name] = true end
  return names
end

-- The circle among files that are given as {defines, needs}.
local function circle(files)
  local objects = {}
  for file, symbols in pairs(files) do
    objects[file] = {defines = set(symbols[1]), needs = set(symbols[2])}
  end
  local found = cycles.find(cycles.uses(objects))
  return found and table.concat(found, "; ")
end

describe("cycles", function()
  it("has nothing against this tree", function()
    local objects = cycles.read "build/obj"
    assert.truthy(objects["conn/conn.c"].defines.conn_open)
    assert.truthy(objects["listen/detection.c"].needs.conn_open)
    assert.is_nil(cycles.find(cycles.uses(objects)))
  end)

  it("lets files stand on each other", function()
    assert.is_nil(circle {["a.c"] = {"a", "b c malloc"}, ["b.c"] = {"b", "c b"},
      ["c.c"] = {"c", "free"}})
  end)

  it("finds two files that call each other, and says by what", function()
    assert.equal("a.c uses b.c (b); b.c uses a.c (a)",
      circle {["a.c"] = {"a", "b"}, ["b.c"] = {"b", "a"}})
  end)

  it("finds a circle behind files that are in none", function()
    assert.equal("b.c uses c.c (c); c.c uses d.c (d); d.c uses b.c (b)",
      circle {["a.c"] = {"a", "b"}, ["b.c"] = {"b", "c"}, ["c.c"] = {"c", "d"},
        ["d.c"] = {"d", "b"}})
  end)
end)
