-- The ways to a reload: --watch, the panel, and workers.

local Folder = require "spec.support.folder"
local Process = require "spec.support.process"
local Program = require "spec.support.program"
local cjson = require "cjson"
local http = require "socket.http"

-- A class that answers each line with a word, and with the worker and the version.
local function echo(word, more)
  return ([[
    local Echo = sync.Protocol:extend("Echo")
    Echo.framing = "line"
    local word = "%s"
    function Echo:onData(line)
      self:send(("%%s %%d %%d"):format(word, sync.worker or 0, sync.codeVersion()))
    end
    %s
    sync.enable("127.0.0.1", 0, Echo, {panel = "a long secret"})
    sync.start()
  ]]):format(word, more or "")
end

local function ask(client)
  client:send "\n"
  return client:receive "*l"
end

describe("a reload", function()
  after_each(Folder.cleanUp)

  it("comes by --watch when a file has changed, also one that was wrong", function()
    local folder = Folder.new(echo("one", 'word = require "module"'), {module = "return 'm1'"})
    local process, port = folder:serve "--watch"
    local client = Program.connect(port)
    assert.equal("m1 0 1", ask(client))
    folder:write("module.lua", "return 'm2'")
    process:expect("stderr", "module.lua has changed\n")
    process:expect("stderr", "reloaded: version 2")
    assert.equal("m2 0 2", ask(client))
    folder:script(echo("one", 'word = require "other"'))
    folder:write("other.lua", "return ]")
    process:expect("stderr", "the reload has failed")
    assert.equal("m2 0 2", ask(client))
    folder:write("other.lua", "return 'o3'")
    process:expect("stderr", "other.lua has changed\n")
    process:expect("stderr", "reloaded: version 3")
    assert.equal("o3 0 3", ask(client))
  end)

  it("comes by the panel, which says which version runs and what has failed", function()
    local folder = Folder.new(echo "one")
    local process, port = folder:serve()
    local client = Program.connect(port)
    local at = ("http://127.0.0.1:%d/panel"):format(port)
    local function post(query) return select(2, http.request(at .. "/reload" .. query, "")) end
    local function version()
      return cjson.decode((http.request(at .. ".json?token=a+long+secret"))).version
    end
    assert.equal(1, version().number)
    folder:script(echo "two")
    assert.equal(401, post "?token=wrong+secret")
    assert.not_equal(202, select(2, http.request(at .. "/reload?token=a+long+secret"))) -- a GET
    assert.equal("one 0 1", ask(client))
    assert.equal(202, post "?token=a+long+secret")
    process:expect("stderr", "reloaded: version 2")
    assert.equal("two 0 2", ask(client))
    assert.is_true(version().canGoBack)
    folder:script "error 'boom'"
    post "?token=a+long+secret"
    process:expect("stderr", "the reload has failed")
    assert.truthy(version().problem:find "boom")
    assert.equal(2, version().number)
    post "?token=a+long+secret&back=1"
    process:expect("stderr", "reloaded: version 3")
    assert.equal("one 0 3", ask(client))
    assert.is_nil(version().problem)
  end)

  describe("of workers", function()
    -- A client of each worker.
    local function joinEach(port)
      local clients = {}
      return Process.eventually("a client of each worker", function()
        local client = Program.connect(port)
        local number = tonumber((ask(client):match "^%S+ (%d) "))
        if clients[number] then client:close() else clients[number] = client end
        return clients[1] and clients[2] and clients
      end)
    end

    local function reload(folder, ...)
      local code, out = Program.run("reload", folder.process.pid, ...)
      return code, out
    end

    it("is one worker's first, and nobody's if that fails", function()
      local folder = Folder.new(echo "one")
      local process, port = folder:serve "--workers=2"
      local clients = joinEach(port)
      folder:script(echo("two", "if sync.worker == 1 then error 'first' end"))
      local code, out = reload(folder)
      assert.equal(1, code)
      assert.truthy(out:find "^error: worker 1: .*first", out)
      assert.truthy(out:find("the others weren't asked", 1, true), out)
      for number = 1, 2 do assert.equal(("one %d 1"):format(number), ask(clients[number])) end
      folder:script(echo("two", "if sync.worker == 2 then error 'second' end"))
      code, out = reload(folder)
      assert.equal(1, code)
      assert.truthy(out:find "some workers keep the version before: worker 2: .*second", out)
      assert.equal("two 1 2", ask(clients[1]))
      assert.equal("one 2 1", ask(clients[2]))
      local route = [[
        Echo.routes["GET /reload"] = function()
          local ok, problem = sync.reload {back = true}
          return ok and "yes" or problem
        end]]
      folder:script(echo("three", route))
      code, out = reload(folder)
      assert.equal(0, code, out)
      assert.equal("version 3 runs\n", out)
      for number = 1, 2 do assert.equal(("three %d 3"):format(number), ask(clients[number])) end

      -- One that is started anew has the number of the others.
      local pid = select(2, Program.run("console", process.pid, "workers"))
        :match "worker 2  process (%d+)"
      os.execute("kill -9 " .. pid)
      clients[2]:receive "*l"
      process:expect("stderr", "worker 2 was ended by signal 9")
      clients = joinEach(port)
      Process.eventually("the number", function() return ask(clients[2]) == "three 2 3" end)

      -- A worker's script asks for all. They have the same texts, whatever happens to the files.
      folder:script(echo("four", route))
      assert.equal(0, (reload(folder)))
      os.remove(folder.path .. "/main.lua")
      assert.equal("yes", http.request(("http://127.0.0.1:%d/reload"):format(port)))
      for number = 1, 2 do assert.equal(("three %d 5"):format(number), ask(clients[number])) end
    end)
  end)
end)
