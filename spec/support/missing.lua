-- Runs a script where a library is missing: the loader that it is asked of is a spec's own,
-- which finds none whose name begins so.

local Process = require "spec.support.process"
local Program = require "spec.support.program"

local LOADER = [[
#define _GNU_SOURCE
#include <dlfcn.h>
#include <string.h>
void *dlopen(const char *name, int flags) {
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    return name && strstr(name, MISSING) ? next("/nothing/of/this/name", flags) : next(name, flags);
}
]]

local missing = {}

--- Runs a script.
-- @treturn string what it printed, and what it printed to standard error
function missing.run(library, code)
  local loader = Process.file(nil, ".so")
  local made = Process.start {"cc", "-shared", "-fPIC", ('-DMISSING="%s"'):format(library), "-o",
    loader, "-x", "c", Process.file(LOADER)}
  assert(made:wait() == 0, made:stderr())
  local process = Program.startBehind(loader, {}, Process.file(code))
  process:closeInput()
  process:wait()
  return process:stdout() .. process:stderr()
end

return missing
