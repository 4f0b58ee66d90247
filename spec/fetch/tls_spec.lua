-- sync.http: TLS, HTTP/2 and a proxy, with nginx; names that nobody looks up in time.

local Process = require "spec.support.process"
local Program = require "spec.support.program"
local fetch = require "spec.fetch.support"
local support = require "spec.support"
local sync = require "sync"

local function run(command)
  assert(os.execute(command .. " >/dev/null 2>&1") == 0, command)
end

-- An authority, and certificates of it in a folder: for localhost, and for another name.
local function certificates()
  local folder = os.tmpname()
  os.remove(folder)
  run("mkdir " .. folder)
  local key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
  run(("openssl req -x509 %s -keyout %s/ca.key -out %s/ca.pem -subj /CN=ca")
    :format(key, folder, folder))
  for file, name in pairs {right = "localhost", wrong = "elsewhere.example"} do
    run(("openssl req %s -keyout %s/%s.key -out %s/%s.csr -subj /CN=%s -addext " ..
      "subjectAltName=DNS:%s"):format(key, folder, file, folder, file, name, name))
    run(("openssl x509 -req -in %s/%s.csr -CA %s/ca.pem -CAkey %s/ca.key -CAcreateserial " ..
      "-copy_extensions copy -out %s/%s.pem"):format(folder, file, folder, folder, folder, file))
  end
  return folder
end

local NGINX = [[
daemon off; master_process off; pid %s/pid; error_log stderr;
events {}
http {
  access_log off; client_body_temp_path %s; proxy_temp_path %s; fastcgi_temp_path %s;
  uwsgi_temp_path %s; scgi_temp_path %s;
  server {
    listen 127.0.0.1:%d ssl http2;
    ssl_certificate %s/right.pem; ssl_certificate_key %s/right.key;
    location /secure { return 200 "by $server_protocol"; }
    location /down { return 302 http://127.0.0.1:%d/; }
  }
  server {
    listen 127.0.0.1:%d ssl; ssl_certificate %s/wrong.pem; ssl_certificate_key %s/wrong.key;
  }
}
]]

describe("sync.http", function()
  local folder, right, wrong

  setup(function()
    folder, right, wrong = certificates(), Process.freePort(), Process.freePort()
    local f = folder
    local config = Process.file(NGINX:format(f, f, f, f, f, f, right, f, f, right, wrong, f, f))
    local nginx = Process.start {"nginx", "-e", "stderr", "-c", config}
    Process.eventually(function() return "nginx listens\n" .. nginx:stderr() end, function()
      local socket = require "socket".connect("127.0.0.1", wrong)
      if socket then socket:close() end
      return socket
    end)
  end)

  teardown(function()
    Process.cleanUp()
    os.execute("rm -rf " .. folder)
  end)

  local function get(port, path, more)
    local options = {ca = folder .. "/ca.pem"}
    for name, value in pairs(more or {}) do options[name] = value end
    return fetch.get({url = "https://localhost:" .. port}, path, options)
  end

  it("speaks TLS and HTTP/2", function()
    local response, problem = get(right, "/secure")
    assert(response, problem)
    assert.same({200, "by HTTP/2.0", 2}, {response.status, response.body, response.version})
    local done = 0 -- many at once, on one connection
    for _ = 1, 8 do
      sync.spawn(function()
        local options = fetch.options({url = "https://localhost:" .. right}, "/secure",
          {ca = folder .. "/ca.pem"})
        assert.equal(2, sync.http(options).version)
        done = done + 1
      end)
    end
    support.wait(function() return done == 8 end)
  end)

  it("checks certificates", function()
    for what, call in pairs {
      ["another name"] = {wrong, "/secure"},
      ["no authority that is known"] = {right, "/secure", {ca = folder .. "/wrong.pem"}},
      ["the system's authorities"] = {right, "/secure", {ca = false}},
    } do
      local options = {ca = folder .. "/ca.pem"}
      for name, value in pairs(call[3] or {}) do options[name] = value or nil end
      if call[3] and call[3].ca == false then options.ca = nil end
      local response, problem, code = fetch.get({url = "https://localhost:" .. call[1]}, call[2],
        options)
      assert.is_nil(response, what)
      assert.equal("tls", code, what .. ": " .. problem)
    end
    assert.equal("file", select(3, get(right, "/secure", {ca = "/no/such/file"})))
    -- By address the certificate is of no use: its name is what counts.
    assert.equal("tls", select(3, fetch.get({url = "https://127.0.0.1:" .. right}, "/secure",
      {ca = folder .. "/ca.pem"})))
    local plain = fetch.peer()
    assert.equal("timeout", select(3, fetch.get({url = "https://127.0.0.1:" .. plain.port}, "/",
      {connectTimeout = 0.3}))) -- it waits for more of what it takes for a request
  end)

  it("doesn't leave TLS by a redirect", function()
    local _, problem, code = get(right, "/down")
    assert.equal("redirects", code)
    assert.matches("would leave TLS", problem)
  end)

  it("goes by a proxy, which is told nothing of a secure request but its host", function()
    -- Answers every request that names a whole URL, and refuses to connect.
    local proxy = fetch.peer()
    local response = fetch.waits(function()
      return sync.http {url = "http://nowhere.example/echo?by=proxy", proxy = proxy.url}
    end)
    assert.equal("http://nowhere.example/echo?by=proxy", response:json().path)
    local output = Process.start {"env", "http_proxy=" .. proxy.url, "no_proxy=127.0.0.1",
      Program.path, Process.file([[
        local sync = require "sync"
        sync.spawn(function()
          print(sync.http("http://nowhere.example/echo"):json().path)
          print(sync.http("]] .. proxy.url .. [[/echo"):json().path)
        end)
        sync.start()
      ]])}
    output:wait()
    assert.equal("http://nowhere.example/echo\n/echo\n", output:stdout())
  end)
end)

-- A loader that lets getaddrinfo sleep for names that end in ".hangs".
local LOADER = [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints,
                struct addrinfo **list) {
    int (*next)(const char *, const char *, const struct addrinfo *, struct addrinfo **) =
        (int (*)(const char *, const char *, const struct addrinfo *, struct addrinfo **))
            dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && strstr(name, ".hangs")) {
        sleep(strstr(name, "long") ? 60 : 2);
        return EAI_AGAIN;
    }
    return next(name, service, hints, list);
}
]]

describe("a name that nobody looks up in time", function()
  after_each(Process.cleanUp)

  local function runHanging(code)
    local loader = Process.file(nil, ".so")
    local made = Process.start {"cc", "-shared", "-fPIC", "-o", loader, "-x", "c",
      Process.file(LOADER)}
    assert(made:wait() == 0, made:stderr())
    local process = Program.startBehind(loader, {}, Process.file(code))
    process:closeInput()
    local begun = sync.now()
    process:wait(50)
    return process:stdout() .. process:stderr(), sync.now() - begun
  end

  it("stops nobody, keeps its place until its thread ends, and holds up no end", function()
    local output, seconds = runHanging [[
      local sync = require "sync"
      sync.http.perHost = 4
      local ticks, worst, last = 0, 0, sync.now()
      local ticker = sync.every(0.01, function()
        ticks, worst, last = ticks + 1, math.max(worst, sync.now() - last), sync.now()
      end)
      local left = 8
      local begun = sync.now()
      for i = 1, 8 do
        sync.spawn(function()
          local response, problem, code = sync.http {url = "http://short.hangs/", proxy = false,
            connectTimeout = 0.3, timeout = 1.5}
          left = left - 1
          print(code)
          if left == 0 then
            print("held", sync.http.state())
            print("worst below a second", worst < 1)
            while sync.http.state() > 0 do sync.sleep(0.05) end
            print("free again", sync.now() - begun > 1.5)
            sync.spawn(function() sync.http {url = "http://long.hangs/", proxy = false} end)
            sync.sleep(0.2)
            sync.stop()
          end
        end)
      end
      sync.start()
      print "stopped"
    ]]
    assert.matches("timeout.*timeout.*timeout.*timeout", output)
    assert.matches("busy.*busy.*busy.*busy", output)
    assert.matches("held\t4\t0", output)
    assert.matches("worst below a second\ttrue", output)
    assert.matches("free again\ttrue", output)
    assert.matches("stopped", output)
    assert.is_true(seconds < 40, seconds)
  end)
end)

describe("requests under way", function()
  after_each(Process.cleanUp)

  it("don't hold up the end of the program", function()
    local peer = fetch.peer()
    local process = Program.serve([[
      local Game = sync.Protocol:extend("Game")
      function Game:onData() sync.http.send {url = "]] .. peer.url .. [[/silent", proxy = false} end
      sync.enable("127.0.0.1", 0, Game)
      sync.start()
    ]])
    local port = process:expect("stderr", "listens on %S-:(%d+)")
    local client = Program.connect(port)
    client:send "go"
    Process.eventually("the request comes", function()
      return #io.popen("ss -Htn state established dport = :" .. peer.port):read "*a" > 0
    end)
    client:close()
    process:kill "TERM"
    assert.equal(0, (process:wait()))
    assert.same({0, 0}, {sync.http.state()})
    support.cleanUp()
  end)
end)
