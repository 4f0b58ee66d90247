-- What is shipped: the package for Debian, the program alone, and the units.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

-- What sanitizers are in is never shipped.
local PROGRAM = Program.sanitized and "./sync-lua" or Program.path
local SECONDS = 120 -- packing takes a busy machine its time

local function shell(command, ...)
  local process = Process.start {"sh", "-ec", command, "sh", ...}
  process:closeInput()
  local code = process:wait(SECONDS)
  assert(code == 0, command .. " failed:\n" .. process:stdout() .. process:stderr())
  return process:stdout()
end

local function has(program)
  return os.execute(("command -v %s >/dev/null"):format(program)) == 0
end

-- What systemd says of a unit whose program is the one under test: nothing, if it's right. What it
-- says of the machine's own units is theirs.
local function verified(path)
  return shell([[
    sed "s|^ExecStart=[^ ]*|ExecStart=$(realpath "$2")|" "$1" >"$3"
    systemd-analyze verify "$3" 2>&1 | grep -F "$(basename "$3")" || true
  ]], path, PROGRAM, Process.folder .. "/" .. path:match "[^/]*$")
end

describe("what is shipped", function()
  setup(function()
    Process.folder = Process.file()
    assert(os.execute("mkdir -p " .. Process.folder) == 0)
  end)

  teardown(function()
    Process.cleanUp()
    os.execute(("rm -rf '%s'"):format(Process.folder))
  end)

  it("is a package whose program runs by itself", function()
    if not has "dpkg-deb" then return end
    local folder = Process.folder .. "/deb"
    shell('COMPRESS="-Zgzip -z1" sh packages/deb.sh "$1" "$2" 1.2.3', PROGRAM, folder)
    local control = shell('dpkg-deb -f "$1"/*.deb', folder)
    assert.matches("Package: sync%-lua\nVersion: 1%.2%.3\n", control)
    assert.matches("Depends: libc6 %(>= 2%.%d+%), libgcc%-s1\n", control)
    shell('dpkg-deb -x "$1"/*.deb "$1/root" && dpkg-deb -e "$1"/*.deb "$1/root/DEBIAN"', folder)
    shell('cd "$1/root" && md5sum --quiet -c DEBIAN/md5sums', folder)
    assert.equal("", shell([[find "$1/root" ! -user "$(id -un)" -o -perm /022 -type f]], folder))
    local program = folder .. "/root/usr/bin/sync-lua"
    assert.is_true(tonumber(shell('wc -c <"$1"', program)) <= 8 * 2 ^ 20)
    assert.equal("", shell('readelf -S "$1" | grep debug_info || true', program))
    assert.matches("debug_info", shell('readelf -S "$1"/*.debug', folder))
    assert.matches("sync%-lua.debug", shell('readelf -p .gnu_debuglink "$1"', program))
    if has "lintian" then
      assert.equal("", shell('lintian --allow-root --fail-on none "$1"/*.deb', folder))
    end
    local said = shell('cd / && env -i "$1" -e \'print(require "sync".version)\'', program)
    assert.equal(require "sync".version .. "\n", said)
  end)

  it("is one file with its checksums", function()
    local folder = Process.folder .. "/dist"
    shell('sh packages/dist.sh "$1" "$2" sync-lua-test', PROGRAM, folder)
    assert.equal("sync-lua-test: OK\nsync-lua-test.debug: OK\n",
      shell('cd "$1" && sha256sum -c SHA256SUMS', folder))
    assert.matches("^sync%-lua ", shell('"$1" --version', folder .. "/sync-lua-test"))
  end)

  it("has units that systemd takes", function()
    if not has "systemd-analyze" then return end
    assert.equal("", verified "packages/systemd/sync-lua@.service")
    local project = Process.folder .. "/new"
    shell('mkdir "$2" && cd "$2" && "$1" new game >/dev/null',
      (shell('realpath "$1"', PROGRAM):gsub("\n", "")), project)
    assert.equal("", verified(project .. "/game/deploy/server.service"))
    local unit = shell('cat "$1"', project .. "/game/deploy/server.service")
    assert.matches("ExecStart=sync-lua --drain=20 /srv/game/main.lua", unit, 1, true)
    assert.matches("COPY *.lua /app/", shell('cat "$1"', project .. "/game/deploy/Dockerfile"), 1,
      true)
  end)
end)
