-- The console by a URL.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local SECRET = "a-secret-of-some-length"

describe("console by a URL", function()
  local certificate, key, server, port

  setup(function()
    certificate, key = os.tmpname(), os.tmpname()
    assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes " ..
      "-days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost -out %s -keyout %s " ..
      "2>/dev/null"):format(certificate, key)) == 0)
    server, port = Program.serve(([[
      local Echo = sync.Protocol:extend("Echo")
      Echo.tls = {certificate = %q, key = %q}
      sync.enable("localhost", 0, Echo, {console = %q, panel = "the panel's token"})
      sync.start()
    ]]):format(certificate, key, SECRET))
  end)

  teardown(function()
    Process.cleanUp()
    os.remove(certificate)
    os.remove(key)
  end)

  -- What curl has got for a line: a status and a body.
  local function say(line, ...)
    local process = Process.start {"curl", "-s", "--cacert", certificate, "-w", "\n%{http_code}",
      "--data-binary", line, ...}
    process:wait()
    local body, status = process:stdout():match "^(.*)\n(%d+)$"
    return tonumber(status), body
  end

  local function curl(...) return say("Echo.className", ...) end

  local function url(scheme, path)
    return ("%s://localhost:%d/%s"):format(scheme or "https", port, path or "console")
  end

  local HEADER = "Authorization: Bearer " .. SECRET

  it("answers a line, over TLS, to who has the secret", function()
    assert.same({200, '"Echo"\n'}, {curl("-H", HEADER, url())})
    local status, body = say("nobody.nothing", "-H", HEADER, url())
    assert.equal(422, status)
    assert.truthy(body:find "^error: .*nobody", body)
    server:expect("stderr", "console: Echo.className address=%S+\n")
  end)

  it("traces and profiles for as long as a route may take", function()
    local status, body = curl("-H", HEADER, url())
    assert.equal(200, status, body)
    status, body = say("profile 0.3", "-H", HEADER, url())
    assert.equal(200, status)
    assert.matches("s of the processor in 0.3 s", body)
    status, body = say("trace Echo:onData 0.3", "-H", HEADER, url())
    assert.equal(200, status)
    assert.matches("0 calls in 0.%d s", body)
  end)

  it("refuses all others", function()
    assert.equal(401, (curl(url())))
    assert.equal(401, (curl("-H", HEADER .. "r", url())))
    assert.equal(401, (curl("-H", "Authorization: Bearer the panel's token", url())))
    assert.equal(401, (curl(url "https" .. "?token=" .. SECRET)))
    assert.equal(403, (curl("-H", HEADER, url "http")))
    assert.equal(403, (curl("-H", HEADER, "-H", "Origin: https://evil.example", url())))
    local own = ("Origin: https://localhost:%d"):format(port)
    assert.equal(200, (curl("-H", HEADER, "-H", own, url())))
    assert.equal(405, (curl("-H", HEADER, "-G", url())))
    assert.equal(401, (curl("-H", HEADER, "-G", url("https", "panel.json"))))
    server:expect("stderr", "was refused: the console wants its secret")
  end)

  it("is what sync-lua console reaches", function()
    local function run(secret, ...)
      local process = Process.start {"env", "SYNC_CONSOLE=" .. secret,
        "SYNC_CONSOLE_CA=" .. certificate, Program.path, "console",
        ("https://localhost:%d/"):format(port), ...}
      return (process:wait()), process:stdout()
    end
    local code, out = run(SECRET, "1 + 1")
    assert.equal("2\n", out)
    assert.equal(0, code)
    code, out = run("another-secret", "1 + 1")
    assert.equal(1, code)
    assert.truthy(out:find "^status 401: ", out)
  end)

  it("has a secret of some length, that isn't the panel's", function()
    local function problem(settings)
      local script = 'local sync = require "sync" ' ..
        'sync.enable("localhost", 0, sync.Protocol:extend("Echo"), {%s})'
      local _, _, err = Program.runCode(script:format(settings))
      return err
    end
    assert.truthy(problem 'console = "short"':find "a secret of 16 letters or more")
    assert.truthy(problem 'console = ("x"):rep(16), panel = ("x"):rep(16)'
      :find "console and panel have the same secret")
  end)
end)
