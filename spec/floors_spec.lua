-- The check of who may include or require whom, on trees that are seeded with mistakes.

local floors = dofile ".ci/floors.lua"

-- What is wrong with a tree of these files.
local function problems(files, exceptions)
  return table.concat(floors.problems(files, exceptions or {}), "\n")
end

describe("floors", function()
  it("has nothing against this tree", function()
    local files = floors.read()
    for _, path in ipairs {"src/sync.c", "lua/sync/init.lua", "protocols/line.lua"} do
      assert.truthy(files[path], path)
    end
    assert.equal("", problems(files, floors.exceptions))
  end)

  it("lets a file reach its own folder and floors below", function()
    assert.equal("", problems {
      ["src/sync.h"] = "", ["src/net/poller.h"] = "",
      ["src/core/core.h"] = '#include "net/poller.h"\n#include "sync.h"\n#include <uv.h>',
      ["src/core/timer.c"] = '#include "core.h"', ["src/nats/link.c"] = '#include "link.h"',
      ["src/nats/link.h"] = "",
      ["lua/sync/set.lua"] = "", ["lua/sync/http/init.lua"] = 'require "sync.set"',
      ["lua/sync/http/files.lua"] = 'require("sync.http")',
    })
  end)

  it("refuses an include that points up", function()
    assert.equal("src/net/poller.c:2: reaches src/conn/conn.h, which is on a floor above " ..
      "(src/conn/ over src/net/)", problems {
        ["src/net/poller.c"] = '\n#  include "conn/conn.h"', ["src/conn/conn.h"] = ""})
  end)

  it("refuses an include of a folder on the same floor", function()
    assert.matches("src/tls/tls.c:1: reaches src/websocket/utf8.h, which is beside it", problems {
      ["src/tls/tls.c"] = '#include "websocket/utf8.h"', ["src/websocket/utf8.h"] = ""}, 1, true)
  end)

  it("refuses includes into and out of a building apart", function()
    assert.matches("src/nats/link.c:1: reaches src/sync.h, which is apart\n" ..
      "src/sync.c:1: reaches src/nats/link.h, which is apart", problems {
        ["src/nats/link.c"] = '#include "sync.h"', ["src/nats/link.h"] = "",
        ["src/sync.c"] = '#include "nats/link.h"', ["src/sync.h"] = ""}, 1, true)
  end)

  it("refuses a require that points up, wherever it stands", function()
    for _, code in ipairs {'local h = require "sync.http"', "local h = require('sync.http')",
      'return function() return require "sync.http" end', "pcall(require, 'sync.http')",
      'local cluster = package.loaded["sync.http"]', [[print("\"") require "sync.http"]],
      'print("--") require "sync.http"', '--[[ x ]] require "sync.http"'} do
      assert.equal("lua/sync/set.lua:2: reaches lua/sync/http/init.lua, which is on a floor " ..
        "above (lua/sync/http/ over lua/sync/)", problems {
          ["lua/sync/set.lua"] = "\n" .. code, ["lua/sync/http/init.lua"] = ""})
    end
  end)

  it("takes the door for a floor of its own, and its name for a word elsewhere", function()
    local files = {["lua/sync/set.lua"] = 'require "sync"', ["lua/sync/init.lua"] = "",
      ["protocols/line.lua"] = 'require "sync"', ["lua/sync/task.lua"] = 'return "sync"'}
    assert.matches("^lua/sync/set.lua:1: reaches lua/sync/init.lua, [^\n]+$", problems(files))
  end)

  it("doesn't read comments and long strings", function()
    assert.equal("", problems {["lua/sync/http/init.lua"] = "", ["lua/sync/set.lua"] =
      '-- require "sync.http"\n--[==[\nrequire "sync.http"\n]==]\nprint [[require "sync.http"]]'})
  end)

  it("refuses a file on no floor", function()
    assert.matches("src/new/file.c: is on no floor", problems {["src/new/file.c"] = ""}, 1, true)
  end)

  it("takes exceptions that have a reason, as long as they are needed", function()
    local files = {["lua/sync/set.lua"] = 'require "sync.http"', ["lua/sync/http/init.lua"] = ""}
    local pair = {"lua/sync/set.lua", "lua/sync/http/init.lua"}
    assert.equal("", problems(files, {{pair[1], pair[2], "for now"}}))
    assert.matches("lacks a reason", problems(files, {pair}))
    files["lua/sync/set.lua"] = ""
    assert.matches("is no longer needed", problems(files, {{pair[1], pair[2], "for now"}}))
  end)
end)
