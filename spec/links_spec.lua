-- The check of the pages' links, on pages that are seeded with mistakes.

local links = dofile ".ci/links.lua"

-- What is wrong with these pages; a file is there when it is one of them, or one of `others`.
local function problems(pages, others, sources)
  local function exists(path) return pages[path] or (others or {})[path] end
  return table.concat(links.problems(pages, sources or {}, exists), "\n")
end

describe("links", function()
  it("has nothing against this tree", function()
    local pages, sources, exists = links.read()
    assert.truthy(pages["README.md"] and pages["docs/scaling.md"] and sources["lua/sync/init.lua"])
    assert.equal("", table.concat(links.problems(pages, sources, exists), "\n"))
  end)

  it("follows links from the page's own folder", function()
    assert.equal("", problems({
      ["README.md"] = "[a](docs/a.md) [b](docs/a.md#one-two) [c](https://example.com/x#y)",
      ["docs/a.md"] = '# One `two`\n[up](../README.md) [here](#one-two)\n<img src="a.svg">',
    }, {["docs/a.svg"] = true}))
  end)

  it("refuses a missing file", function()
    assert.equal("docs/a.md:3: links to docs/b.md, which isn't there", problems {
      ["docs/a.md"] = "# A\n\n[b](b.md)"})
    assert.equal("a.md:1: links to x.svg, which isn't there", problems {
      ["a.md"] = '<img src="x.svg">'})
    assert.equal("a.md:1: links to x.png, which isn't there", problems {
      ["a.md"] = "![a picture](x.png)"})
  end)

  it("refuses a missing heading", function()
    assert.equal("a.md:2: links to #two, a heading that a.md doesn't have", problems {
      ["a.md"] = "# One\n[two](#two)"})
    assert.equal("a.md:1: links to #two, a heading that b.md doesn't have", problems {
      ["a.md"] = "[two](b.md#two)", ["b.md"] = "# One\n```\n# Two\n```"})
  end)

  it("knows headings of the same text apart", function()
    assert.equal("", problems {["a.md"] = "# One\n# One\n[x](#one-1)"})
    assert.matches("#one%-2", problems {["a.md"] = "# One\n# One\n[x](#one-2)"})
  end)

  it("doesn't read code", function()
    assert.equal("", problems {
      ["a.md"] = "`[x](y)`\n\n    [x](y)\n\n```lua\n[x](y)\n```"})
  end)

  it("refuses a page that a source names, and nobody has written", function()
    assert.equal("x.lua:2: names docs/b.md, which isn't there", problems({["docs/a.md"] = ""},
      nil, {["x.lua"] = "-- see docs/a.md\n-- and docs/b.md"}))
  end)
end)
