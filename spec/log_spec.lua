local cjson = require "cjson"
local log = require "sync.log"
local support = require "spec.support"

local function logged(fn)
  return table.concat(support.logged(fn), "\n")
end

describe("log", function()
  before_each(function() log.configure("info,text") end)
  after_each(function() log.configure("info,text") end)

  it("writes the time, the level, the message and its fields in order", function()
    assert.matches('^%d%d:%d%d:%d%d INFO  player joined age=7 name=ann$',
      logged(function() log.info("player joined", {name = "ann", age = 7}) end))
    assert.matches("^%S+ ERROR oops$", logged(function() log.error("oops") end))
  end)

  it("quotes what would be read wrong", function()
    local line = logged(function() log.warn("x", {text = 'say "hi" now', sum = "a=b"}) end)
    assert.matches('sum="a=b" text="say \\"hi\\" now"$', line)
  end)

  it("writes only what its level lets through", function()
    local function all()
      for _, level in ipairs {"debug", "info", "warn", "error"} do log[level](level) end
    end
    local counts = {}
    for _, level in ipairs {"debug", "info", "warn", "error"} do
      log.configure(level)
      counts[#counts + 1] = #support.logged(all)
    end
    assert.same({4, 3, 2, 1}, counts)
  end)

  it("is configured by words, and an unknown one is named", function()
    assert.is_true(log.configure("warn,json"))
    assert.equal("warn", log.level)
    assert.equal("json", log.format)
    local ok, message = log.configure("loud")
    assert.is_nil(ok)
    assert.matches('"loud" is neither a level %(debug, info, warn, error%) nor a format',
      message)
  end)

  it("writes JSON that others can read, one entry a line", function()
    log.configure("json")
    local lines = support.logged(function()
      log.info('say "hi"\nnext line\27[31m', {name = "ann", age = 7, ok = true,
        list = {}, nan = 0 / 0, inf = math.huge, ["zero\0"] = "a\0b"})
      log.error("bad", {traceback = "stack traceback:\n\tx"})
    end)
    assert.equal(2, #lines)
    for _, line in ipairs(lines) do assert.is_nil(line:find("[%c]")) end
    local entry = cjson.decode(lines[1])
    assert.equal("info", entry.level)
    assert.equal('say "hi"\nnext line\27[31m', entry.message)
    assert.equal("ann", entry.name)
    assert.equal(7, entry.age)
    assert.is_true(entry.ok)
    assert.is_string(entry.nan)
    assert.is_string(entry.inf)
    assert.equal("a\0b", entry["zero\0"])
    assert.matches("^%d%d%d%d%-%d%d%-%d%dT%d%d:%d%d:%d%dZ$", entry.time)
    assert.equal("stack traceback:\n\tx", cjson.decode(lines[2]).traceback)
  end)

  it("keeps its own words in JSON, whatever fields are called", function()
    log.configure("json")
    local entry = cjson.decode(logged(function()
      log.error("true message", {level = "debug", message = "false", time = "never"})
    end))
    assert.equal("error", entry.level)
    assert.equal("true message", entry.message)
    assert.matches("^%d%d%d%d", entry.time)
  end)

  it("lets nobody move the cursor", function()
    for byte = 0, 255 do
      local char = string.char(byte)
      local line = logged(function()
        log.info("a" .. char .. "b", {name = char, ["k" .. char] = 1})
      end)
      assert.is_nil(line:find("[%z\1-\8\11-\31\127]"), "byte " .. byte)
    end
    assert.matches("a\\x1b%[2Jb", logged(function() log.info("a\27[2Jb") end))
    assert.matches("a\\xc2\\x9b2Jb", logged(function() log.info("a\194\1552Jb") end))
    assert.matches("gr\195\188n", logged(function() log.info("gr\195\188n") end))
  end)

  it("lets nobody forge an entry", function()
    local forged = "bob\n12:00:00 ERROR the server burns"
    for _, write in ipairs {
      function() log.info("joined: " .. forged) end,
      function() log.info("joined", {name = forged}) end,
      function() log.info("joined", {[forged] = "name"}) end,
      function() log.error("x", {traceback = forged}) end,
    } do
      assert.is_nil(("\n" .. logged(write)):find("\n12:00:00", 1, true))
    end
  end)

  it("cuts what is long, and no character in two", function()
    local long = ("x"):rep(199) .. ("ä"):rep(3000)
    local line = logged(function() log.info("m" .. long, {field = long, [long] = 1}) end)
    assert.matches("field=" .. ("x"):rep(199) .. "… ", line)
    assert.matches(" " .. ("x"):rep(199) .. "…=1", line)
    assert.is_true(#line < 4600)
    assert.is_true(require "sync".isText(line))
    assert.is_true(#logged(function() log.error("x", {traceback = long}) end) < 4100)
    log.configure("json")
    local entry = cjson.decode(logged(function()
      log.info(long, {field = long, traceback = long})
    end))
    assert.equal(("x"):rep(199) .. "…", entry.field)
    assert.is_true(#entry.message < 4100 and #entry.traceback < 4100)
  end)

  it("takes messages that are not strings", function()
    assert.matches("INFO  7$", logged(function() log.info(7) end))
    assert.matches("INFO  nil$", logged(function() log.info(nil) end))
    log.configure("json")
    assert.equal("table", cjson.decode(logged(function() log.info({}) end)).message:match("^%a+"))
  end)

  describe("limited", function()
    it("writes five of a kind and leaves the rest out", function()
      local lines = support.logged(function()
        for i = 1, 100 do log.limited("warn", "spec flood", "flood " .. i) end
        log.limited("warn", "spec other", "other")
      end)
      assert.equal(6, #lines)
      assert.matches("flood 5$", lines[5])
      assert.matches("other$", lines[6])
    end)

    it("tells how many it left out when there is room again", function()
      -- The clock is the core's, so the log gets one that can be set.
      local core, time = require "sync.core", 0
      local real, loaded = core.C, package.loaded["sync.log"]
      core.C = setmetatable({sync_now = function() return time end}, {__index = real})
      package.loaded["sync.log"] = nil
      local fresh = require "sync.log"
      core.C, package.loaded["sync.log"] = real, loaded
      local lines = {}
      fresh.write = function(line) lines[#lines + 1] = line end
      for _ = 1, 8 do fresh.limited("warn", "kind", "flood") end
      assert.equal(5, #lines)
      time = 11
      fresh.limited("warn", "kind", "flood")
      assert.equal(7, #lines)
      assert.matches("3 more like this were left out: kind", lines[6])
      assert.matches("flood$", lines[7])
    end)

    it("counts nothing that the level leaves out", function()
      log.configure("error")
      assert.equal(0, #support.logged(function()
        log.limited("info", "spec quiet", "x")
      end))
    end)
  end)
end)
