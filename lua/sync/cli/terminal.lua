--- Lines that a person types: with editing and a history where the library libedit is, else plain.
-- Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.cli.terminal

local core = require "sync.core"
local ffi = require "ffi"

local MOST_HISTORY = 1000 -- lines

local terminal = {}

local function load()
  ffi.cdef [[
char *readline(const char *prompt);
int add_history(const char *line);
int read_history(const char *path);
int write_history(const char *path);
int history_truncate_file(const char *path, int lines);
void free(void *memory);
]]
  for _, name in ipairs {"libedit.so.2", "libedit.so.0", "edit"} do
    local ok, library = pcall(ffi.load, name)
    if ok then return library end
  end
end

local function plain(prompt)
  return function()
    io.stdout:write(prompt)
    io.stdout:flush()
    return io.read "*l"
  end, function() end
end

local function edited(library, prompt, history)
  if history then library.read_history(history) end
  local function read()
    local typed = library.readline(prompt)
    if typed == nil then return nil end
    local line = ffi.string(typed)
    ffi.C.free(typed)
    if line:find "%S" then library.add_history(line) end
    return line
  end
  return read, function()
    if not history then return end
    library.write_history(history)
    library.history_truncate_file(history, MOST_HISTORY)
  end
end

--- Opens it.
-- @tparam string prompt
-- @tparam string|nil history a file of lines that were typed before
-- @treturn function reads a line; nil at the end
-- @treturn function ends it, and keeps the history
function terminal.open(prompt, history)
  if core.C.sync_at_terminal() == 0 then
    return function() return io.read "*l" end, function() end
  end
  local library = load()
  if library then return edited(library, prompt, history) end
  return plain(prompt)
end

return terminal
