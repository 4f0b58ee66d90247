-- What `make install` and LuaRocks put into an empty prefix, and the program alone: each has
-- every module of the tree.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local SECONDS = 240 -- luarocks builds all anew, which a busy machine takes its time for

-- What a command prints. It is started without what `make test` has put into the environment.
local function shell(command, ...)
  local process = Process.start {"env", "-u", "MAKEFLAGS", "-u", "MAKELEVEL", "-u", "DESTDIR",
    "-u", "LUA_PATH", "-u", "LUA_CPATH", "sh", "-ec", command, "sh", ...}
  process:closeInput()
  local code = process:wait(SECONDS)
  assert(code == 0, command .. " failed:\n" .. process:stdout() .. process:stderr())
  return process:stdout()
end

-- The modules that the tree's files are, and those that the Makefile makes of other files;
-- of LuaJIT's own those that the program has.
local function modules(prefix)
  local names = {}
  for path in shell("find lua/sync protocols -name '*.lua' | sort"):gmatch("[^\n]+") do
    local name = path:gsub("^lua/", ""):gsub("^protocols/", "sync/protocols/")
    names[#names + 1] = name:gsub("%.lua$", ""):gsub("/init$", ""):gsub("/", ".")
  end
  for line in io.lines("Makefile") do
    names[#names + 1] = line:match("^embedded%.(%S+) :=")
    local own = not prefix and line:match("^JIT +:= (.+)$") or ""
    for name in own:gmatch("%S+") do names[#names + 1] = "jit." .. name end
  end
  return names
end

-- Requires each module in a process of its own, so that none finds what another has loaded: a copy
-- of one that has begun, as beginning takes longer. Where there is a prefix, the module's file has
-- to be there. Names those that aren't, and says why.
local REQUIRE = [[
  local ffi = require "ffi"
  ffi.cdef "int fork(void); int waitpid(int pid, int *status, int options); void _exit(int code);"
  local prefix, status = arg[1], ffi.new "int[1]"
  local function load(name)
    if prefix ~= "" then
      local path = assert(package.searchpath(name, package.path))
      assert(path:sub(1, #prefix) == prefix, path)
    end
    require(name)
  end
  local function inCopy(name)
    local ok, problem = pcall(load, name)
    if not ok then io.write(name, " is missing: ", tostring(problem), "\n") io.flush() end
    ffi.C._exit(0)
  end
  for i = 2, #arg do
    local pid = ffi.C.fork()
    if pid == 0 then inCopy(arg[i]) end
    assert(ffi.C.waitpid(pid, status, 0) == pid)
    if status[0] ~= 0 then print(arg[i] .. " ends its process") end
  end
  print(#arg - 1 .. " required")
]]

-- Those of the modules that a program can't require, and what it says; "" when there are none.
local function missing(program, prefix)
  local environment
  if prefix then
    environment = ("LUA_PATH='%s/share/lua/5.1/?.lua;%s/share/lua/5.1/?/init.lua' " ..
      "LUA_CPATH='%s/lib/lua/5.1/?.so;%s'"):format(prefix, prefix, prefix,
      package.searchpath("cjson", package.cpath):gsub("cjson%.so$", "?.so"))
  else
    environment = "LUA_PATH=/none/?.lua LUA_CPATH=/none/?.so"
  end
  local names = modules(prefix)
  local said = shell(([[
    program=$1 script=$2 empty=$2.empty
    shift 2
    mkdir "$empty"
    cd "$empty"
    env -i PATH="$PATH" %s "$program" "$script" "$@" 2>&1 || echo "it has failed"
    rmdir "$empty"
  ]]):format(environment), program, Process.file(REQUIRE), prefix or "", unpack(names))
  return (said:gsub(#names .. " required\n$", ""))
end

-- An empty folder, which goes with the spec.
local folders = {}
local function folder()
  local path = shell("mktemp -d"):gsub("\n", "")
  folders[#folders + 1] = path
  return path
end

local luajit = os.getenv "LUAJIT" or "luajit"

describe("installed", function()
  after_each(function()
    for _, path in ipairs(folders) do shell('rm -rf "$1"', path) end
    folders = {}
    Process.cleanUp()
  end)

  it("by make, every module is there", function()
    local prefix = folder()
    shell('make -s install PREFIX="$1"', prefix)
    assert.equal("", missing(luajit, prefix))
    assert.equal("", missing(prefix .. "/bin/sync-lua"))
    shell('make -s uninstall PREFIX="$1"', prefix)
    assert.equal("", shell('find "$1" -type f', prefix))
  end)

  it("by luarocks, every module is there, in the version that VERSION says", function()
    local prefix = folder()
    shell("make -s rock")
    shell('luarocks --lua-version 5.1 --tree="$1" install --only-server=build/rocks sync ' ..
      "CFLAGS=-O0", prefix) -- compiled sooner
    assert.equal("", missing(luajit, prefix))
    assert.equal("", missing(prefix .. "/bin/sync-lua"))
    local version = io.open("VERSION"):read()
    assert.equal(version .. "-1\n", shell('ls "$1/lib/luarocks/rocks-5.1/sync"', prefix))
    assert.equal(version, shell([[
      cd "$1"
      LUA_PATH="$1/share/lua/5.1/?.lua;$1/share/lua/5.1/?/init.lua" \
      LUA_CPATH="$1/lib/lua/5.1/?.so;;" \
      "$2" -e 'io.write(require "sync".version)']], prefix, luajit))
  end)

  it("as a copy of sync-lua, every module is there", function()
    local copy = Process.file()
    shell('cp "$1" "$2"', Program.path, copy)
    assert.equal("", missing(copy))
  end)
end)
