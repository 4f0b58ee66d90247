local headers = require "sync.http.headers"

describe("an answer's headers", function()
  it("are a line each, a list several", function()
    assert.same({{"A", "1"}}, headers.list {A = 1})
    assert.same({{"A", "x"}, {"A", "y"}}, headers.list {A = {"x", "y"}})
    assert.same({{"A", "x"}, {"A", "y"}, {"a", "z"}}, headers.list {{"A", {"x", "y"}}, {"a", "z"}})
    assert.same({}, headers.list {A = {}})
    assert.equal("A: x\r\nB: 2\r\n", headers.write {{"A", "x"}, {"B", 2}})
  end)

  it("are refused where they can't be written", function()
    for _, wrong in ipairs {{A = true}, {A = {"x", {}}}, {A = print}, {["A B"] = "x"}, {[""] = "x"},
      {A = "x\r\nB: y"}, {A = {"x\n"}}, {{true, "x"}}, {"A: x"}} do
      local ok, message = pcall(headers.list, wrong)
      assert.is_false(ok)
      assert.matches("^header ", message)
    end
  end)

  it("are found in any case", function()
    local list = headers.list {["content-type"] = "a/b"}
    assert.equal("a/b", headers.find(list, "Content-Type")[2])
    assert.is_nil(headers.find(list, "Content"))
  end)

  it("say once by what the answer differs", function()
    for before, after in pairs {["Accept"] = "Accept, Origin",
      ["origin, Accept"] = "origin, Accept",
      ["*"] = "*"} do
      local list = {{"vary", before}}
      headers.vary(list, "Origin")
      assert.same({{"vary", after}}, list)
    end
    local list = {}
    headers.vary(list, "Origin")
    assert.same({{"Vary", "Origin"}}, list)
    list = {{"Vary", "A"}, {"Vary", "Origin"}}
    headers.vary(list, "Origin")
    assert.equal(2, #list)
  end)
end)
