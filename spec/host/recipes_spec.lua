-- docs/recipes.md: each script loads, and what needs no other server does what it says.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local support = require "spec.support"
local sync = require "sync"

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read "*a"
  file:close()
  return text
end

-- The scripts by their headings.
local recipes = {}
for heading, script in read "docs/recipes.md":gmatch "## ([^\n]+)\n[^#]-```lua\n(.-)```" do
  recipes[heading] = script
end

local FREE_PORT = [[
  local sync = require "sync"
  local enable = sync.enable
  function sync.enable(host, port, ...) return enable("127.0.0.1", 0, ...) end
]]

-- Runs a recipe with its database in a folder of its own. Returns it, its port, and the folder.
local function run(heading, ...)
  local folder = os.tmpname()
  os.remove(folder)
  os.execute("mkdir " .. folder)
  local script = recipes[heading]:gsub('"sqlite:', '"sqlite:' .. folder .. "/")
  local words = {"env", ...}
  for _, word in ipairs {Program.path, "-e", FREE_PORT, Process.file(script)} do
    words[#words + 1] = word
  end
  local server = Process.start(words)
  return server, server:expect("stderr", "listens on 127.0.0.1:(%d+)"), folder
end

local function stop(server, folder)
  server:kill "INT"
  assert.equal(0, (server:wait()))
  assert.is_nil(server:stderr():find("ERROR", 1, true), server:stderr())
  os.execute("rm -rf " .. folder)
end

local function ask(fn)
  local done, ok, problem
  sync.spawn(function()
    ok, problem = pcall(fn)
    done = true
  end)
  support.wait(function() return done end)
  assert(ok, problem)
end

describe("docs/recipes.md", function()
  it("has scripts without mistakes", function()
    local key = Process.file()
    os.execute("openssl genrsa 2048 2>/dev/null | openssl rsa -pubout > " .. key .. " 2>/dev/null")
    local count = 0
    for heading, script in pairs(recipes) do
      count = count + 1
      local checked = Process.start {"env", "PROVIDER_KEY=" .. key, Program.path, "--check",
        Process.file(script)}
      checked:closeInput()
      local code = checked:wait()
      assert.equal(0, code, heading .. ": " .. checked:stderr())
    end
    assert.equal(9, count)
  end)

  it("keeps scores in SQLite", function()
    local server, port, folder = run "SQLite"
    local client = Program.connect(port)
    client:send "ann 10\nann 5\nann\nbob\n?!\n"
    local got = {}
    for i = 1, 5 do got[i] = assert(client:receive "*l") end
    assert.same({"10", "15", "15", "0", "?"}, got)
    client:close()
    stop(server, folder)
  end)

  it("takes pictures, and no others", function()
    local server, port, folder = run "An upload"
    local url = ("http://127.0.0.1:%s/pictures"):format(port)
    local function upload(kind, bytes)
      return assert(sync.http {url = url,
        headers = {["Content-Type"] = "multipart/form-data; boundary=x"},
        body = ('--x\r\nContent-Disposition: form-data; name="picture"; filename="../a"\r\n' ..
          "Content-Type: %s\r\n\r\n%s\r\n--x--\r\n"):format(kind, bytes)})
    end
    ask(function()
      local png = "\137PNG\r\n\26\n" .. ("\0\255"):rep(1000)
      local made = upload("image/png", png)
      assert.equal(201, made.status)
      local got = assert(sync.http(url .. "/" .. made:json().id))
      assert.same({200, "image/png", png}, {got.status, got.headers["content-type"], got.body})
      assert.equal(415, upload("image/png", "<script>").status)
      assert.equal(415, upload("text/html", png).status)
      assert.equal(404, sync.http(url .. "/none").status)
    end)
    stop(server, folder)
  end)

  it("books a payment once, and none that is not signed", function()
    local server, port, folder = run("A payment's callback", "PAYMENT_SECRET=secret")
    local body = '{"type":"paid","id":"p1","account":"ann","gems":5}'
    local function call(time, key)
      local signature = sync.crypto.hmac("sha256", key, time .. "." .. body)
      return assert(sync.http {url = ("http://127.0.0.1:%s/paid"):format(port), method = "POST",
        headers = {["Content-Type"] = "application/json",
          ["X-Signature"] = ("t=%d,v1=%s"):format(time, signature)}, body = body}).status
    end
    ask(function()
      local db = sync.sql("sqlite:" .. folder .. "/shop.db")
      db:run "insert into account values ('ann', 1)"
      assert.equal(403, call(os.time(), "wrong"))
      assert.equal(403, call(os.time() - 1000, "secret"))
      assert.equal(204, call(os.time(), "secret"))
      assert.equal(204, call(os.time(), "secret"))
      assert.equal(6, db:value "select gems from account")
      db:close()
    end)
    stop(server, folder)
  end)

  it("logs in by a password, and by the token that it gives", function()
    local server, port, folder = run "Log in with a name and a password"
    ask(function()
      local db = sync.sql("sqlite:" .. folder .. "/game.db")
      db:run("insert into account values (?, ?)", "ann", sync.password.hash "correct horse")
      db:close()
      local function login(password)
        return assert(sync.http {url = ("http://127.0.0.1:%s/login"):format(port),
          json = {name = "ann", password = password}})
      end
      assert.equal(401, login("wrong").status)
      local token = login "correct horse":json().token
      local client = sync.connect("tcp://127.0.0.1:" .. port, {token = token})
      local _, fault = client:call("rename", "anna")
      assert.is_nil(fault)
      client:close()
      assert.equal(401, login("correct horse").status) -- she is called anna now
    end)
    stop(server, folder)
  end)
end)
