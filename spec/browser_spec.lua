-- What installs Ruffle and the browser tests' packages, with a Node.js and an npm that only say
-- what they were called with.

local Process = require "spec.support.process"

local function run(version, arguments)
  local place = Process.file()
  assert(os.execute("mkdir -p " .. place .. "/bin") == 0)
  local function program(name, text)
    local path = place .. "/bin/" .. name
    local file = assert(io.open(path, "w"))
    file:write("#!/bin/sh\n", text)
    file:close()
    os.execute("chmod +x " .. path)
  end
  program("node", ([[
    case "$2" in process.versions*) echo %d;; *) echo "@ruffle-rs/ruffle@1 all=${3:-yes}";; esac
  ]]):format(version))
  program("haxe", "")
  program("npm", ('echo "$@" >> %s/called; mkdir -p %s/node/node_modules/@ruffle-rs/ruffle'):format(
    place, place))
  local process = Process.start {"env", "PATH=" .. place .. "/bin:/usr/bin:/bin", "CHROMIUM=/none",
    "NODE_FOLDER=" .. place .. "/node", "sh", "spec/browser/install.sh", unpack(arguments)}
  local code = process:wait()
  local file = io.open(place .. "/called")
  local called = file and file:read("*a")
  if file then file:close() end
  os.execute("rm -rf " .. place)
  return code, called, process:stderr()
end

describe("spec/browser/install.sh", function()
  after_each(Process.cleanUp)

  it("installs Ruffle alone with Debian's Node.js and without a browser", function()
    local code, called, err = run(18, {"ruffle"})
    assert.equal(0, code, err)
    assert.matches("@ruffle%-rs/ruffle@1 all=ruffle\n$", called)
  end)

  it("wants a browser and Node.js 20 for the tests", function()
    local code, called, err = run(18, {})
    assert.equal(1, code)
    assert.is_nil(called)
    assert.matches("missing: chromium", err, 1, true)
  end)
end)
