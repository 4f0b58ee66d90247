-- Web folders and routes of sync-lua, asked over real sockets.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local socket = require "socket"

local folders = {}

-- Makes a folder of files by name, which goes when the spec ends.
local function folder(files)
  local path = Process.file()
  assert(os.execute("mkdir -p " .. path) == 0)
  folders[#folders + 1] = path
  for name, text in pairs(files) do
    local below = name:match("^(.*)/")
    if below then assert(os.execute(("mkdir -p %s/%s"):format(path, below)) == 0) end
    local file = assert(io.open(path .. "/" .. name, "w"))
    file:write(text)
    file:close()
  end
  return path
end

local function ask(port, method, path, body)
  local peer = assert(socket.connect("127.0.0.1", port))
  peer:settimeout(Process.BOUND)
  peer:send(("%s %s HTTP/1.1\r\nHost: here\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s")
    :format(method, path, #(body or ""), body or ""))
  local answer = assert(peer:receive("*a"))
  peer:close()
  local status, head, text = answer:match("^HTTP/1.1 (%d+)[^\r]*\r\n(.-\r\n)\r\n(.*)$")
  return tonumber(status), text, head
end

local function serve(web, more)
  local _, port = Program.serve(([[
    local Game = sync.Protocol:extend("Game")
    %s
    sync.enable("127.0.0.1", 0, Game, {web = %s})
    sync.start()
  ]]):format(more or "", web))
  return port
end

describe("a web folder", function()
  after_each(function()
    Process.cleanUp()
    for _, path in ipairs(folders) do os.execute("rm -rf " .. path) end
    folders = {}
  end)

  it("answers POST where it's told to", function()
    local path = folder {["setup.txt"] = "&speed=5", ["index.html"] = "page"}
    local port = serve(("{%q, post = true}"):format(path))
    local status, text, head = ask(port, "POST", "/setup.txt", "a=1")
    assert.is_nil(head:find("Allow:", 1, true))
    assert.same({200, "&speed=5"}, {status, text})
    assert.equal(404, (ask(port, "POST", "/none.txt")))
    status, text, head = ask(port, "PUT", "/setup.txt")
    assert.equal("Method Not Allowed\n", text)
    assert.equal(405, status)
    assert.matches("Allow: GET, HEAD, OPTIONS, POST", head, 1, true)
    port = serve(("%q"):format(path))
    status, text, head = ask(port, "POST", "/setup.txt", "a=1")
    assert.equal("Method Not Allowed\n", text)
    assert.equal(405, status)
    assert.matches("Allow: GET, HEAD, OPTIONS\r\n", head, 1, true)
  end)

  it("never gives programs and secrets away", function()
    local names = {"login.php", "LOGIN.PHP", "a.phtml", "game.lua", "app.py", "a.rb", "default.asp",
      "x.aspx", "prod.env", "dump.sql", "game.sqlite3", "server.key", "config.php~", "a.php.bak"}
    local files = {["index.html"] = "page", ["a.php.txt"] = "fine", ["lua"] = "fine"}
    for _, name in ipairs(names) do files[name] = "secret" end
    local port = serve(("{%q, post = true, anyCase = true}"):format(folder(files)),
      [[Game.routes["POST /login.php"] = function() return "&ok=1" end]])
    for _, name in ipairs(names) do
      for _, path in ipairs {name, name:gsub("%.", "%%2e"), "x/../" .. name, name .. "?x=1"} do
        local status, body = ask(port, "GET", "/" .. path)
        assert.same({name == "login.php" and not path:find("x/", 1, true) and 405 or 404, nil},
          {status, body:find("secret", 1, true)}, path)
      end
    end
    assert.equal("fine", (select(2, ask(port, "GET", "/a.php.txt"))))
    assert.equal("fine", (select(2, ask(port, "GET", "/lua"))))
    assert.equal("&ok=1", (select(2, ask(port, "POST", "/login.php", "user=ann"))))
  end)

  it("may be several, the first of which that has a file gives it", function()
    local a = folder {["both.txt"] = "a", ["sub/index.html"] = "sub of a"}
    local b = folder {["both.txt"] = "b", ["only.txt"] = "only b", ["index.html"] = "page of b"}
    local port = serve(("{%q, %q}"):format(a, b))
    for path, text in pairs {["/both.txt"] = "a", ["/only.txt"] = "only b", ["/"] = "page of b",
      ["/sub/"] = "sub of a"} do
      assert.same({200, text}, {(ask(port, "GET", path)), (select(2, ask(port, "GET", path)))})
    end
    assert.equal(404, (ask(port, "GET", "/none.txt")))
    assert.equal(404, (ask(port, "GET", "/ONLY.txt")))
    assert.equal(400, (ask(port, "GET", "/../only.txt")))
  end)

  it("is asked without regard to case where it's told to", function()
    local a = folder {["Maps/One.xml"] = "one", ["x.txt"] = "x of a"}
    local b = folder {["X.txt"] = "X of b", ["INDEX.HTML"] = "page"}
    local port = serve(("{%q, %q, anyCase = true}"):format(a, b))
    for path, text in pairs {["/maps/one.XML"] = "one", ["/Maps/One.xml"] = "one", ["/"] = "page",
      ["/x.txt"] = "x of a", ["/X.txt"] = "X of b", ["/X.TXT"] = "x of a"} do
      assert.same({path, 200, text}, {path, (ask(port, "GET", path)),
        (select(2, ask(port, "GET", path)))})
    end
    assert.equal(404, (ask(port, "GET", "/maps/two.xml")))
  end)

  it("without an index tells what to do", function()
    local port = serve(("%q"):format(folder {}))
    local status, text = ask(port, "GET", "/")
    assert.equal(404, status)
    assert.matches('no index.html, and the class no route "GET /"', text, 1, true)
    assert.equal("Not Found\n", (select(2, ask(port, "GET", "/other"))))
  end)

  it("goes behind routes, of which a star stands for all that follows", function()
    local port = serve(("%q"):format(folder {["index.html"] = "page"}), [[
      local function say(name)
        return function(request)
          return name .. " " .. tostring(request.params["*"] or request.params.rest) .. "\n"
        end
      end
      Game.routes["GET /api/*"] = say "api"
      Game.routes["GET /api/deep/*rest"] = say "deep"
      Game.routes["GET /api/:one"] = say "one"
      Game.routes["GET /api/exact"] = say "exact"
      Game.routes["POST /api/*"] = say "post"
    ]])
    for path, text in pairs {["/api/a/b.txt"] = "api a/b.txt", ["/api/"] = "api ",
      ["/api/a"] = "one nil", ["/api/exact"] = "exact nil", ["/api/deep/x/y"] = "deep x/y"} do
      local _, body = ask(port, "GET", path)
      assert.equal(path .. " " .. text .. "\n", path .. " " .. body)
    end
    assert.equal(404, (ask(port, "GET", "/api")))
    assert.equal("post a/b\n", (select(2, ask(port, "POST", "/api/a/b"))))
    assert.equal(405, (ask(port, "PUT", "/api/a/b")))
  end)
end)
