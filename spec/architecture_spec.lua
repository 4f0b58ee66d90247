-- docs/architecture.md names files and functions that are there.

local function read(path)
  local file = io.open(path)
  if not file then return nil end
  local text = file:read("*a") -- nil of a folder
  file:close()
  return text or ""
end

-- What is wrong with a page.
local function problems(page)
  local list = {}
  local function complain(...) list[#list + 1] = table.concat {...} end
  for path in page:gmatch("`([%w_./-]+)`") do
    local isPath = path:find("/", 1, true) and not path:find("NAME") and not path:find("^/")
    if isPath and not read(path) then complain(path, " is not there") end
  end
  for path, functions in page:gmatch("| `([%w_./-]+)` | (`[^|]*) |\n") do
    for name in functions:gmatch("`([%w_.:]+)`") do
      local pattern = "%f[%w_]" .. name:gsub("%p", "%%%0") .. "%f[^%w_]"
      local isThere = name:find("NAME") or (read(path) or ""):find(pattern)
      if not isThere then complain(path, " has no ", name) end
    end
  end
  return list
end

describe("docs/architecture.md", function()
  it("names files and functions that are there", function()
    assert.same({}, problems(read "docs/architecture.md"))
  end)

  it("is found wrong when it is", function()
    assert.same({"src/gone.c is not there", "src/sync.h has no sync_fly"},
      problems("`src/gone.c`\n| x | `src/sync.h` | `sync_poll`, `sync_fly` |\n"))
  end)
end)
