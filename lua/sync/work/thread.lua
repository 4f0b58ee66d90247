--- What each state of `sync.work` begins with: a function without upvalues, whose bytecode the
-- threads are given. It has only the libraries that luaopen_… of src/work/state.c has opened.
-- @module sync.work.thread

-- @param buffer LuaJIT's string.buffer
-- @tparam function traceback
-- @treturn function of a function's number, its bytecode and its encoded arguments; returns what it
-- returned, encoded: whether all went well, how many values, and they; or false and an error
return function(buffer, traceback)
  local MOST = 256 -- functions that a state keeps
  local encode, decode = buffer.encode, buffer.decode
  local load, setmetatable, unpack, select = loadstring, setmetatable, unpack, select
  local tostring, error, xpcall, pcall, type = tostring, error, xpcall, pcall, type
  local table, match = {concat = table.concat}, string.match

  local globals = {}
  for _, name in ipairs {"assert", "bit", "coroutine", "error", "getmetatable", "ipairs", "math",
    "next", "pairs", "pcall", "rawequal", "rawget", "rawset", "select", "setmetatable", "string",
    "table", "tonumber", "tostring", "type", "unpack", "xpcall"} do
    globals[name] = _G[name]
  end
  globals.string.dump = nil
  local behaviour = {
    __index = globals,
    __newindex = function(_, name)
      error("a function of sync.work can't set the global " .. tostring(name), 2)
    end,
    __metatable = false,
  }

  local known, count = {}, 0

  local function find(number, code)
    local fn = known[number]
    if fn then return fn end
    if count >= MOST then known, count = {}, 0 end
    fn = setfenv(load(code, "=sync.work"), setmetatable({}, behaviour))
    known[number], count = fn, count + 1
    return fn
  end

  local function trace(problem)
    local lines = {}
    for line in traceback("", 2):gmatch "[^\n]+" do
      -- Ours are of no use to whom the function belongs.
      if not match(line, "^stack traceback") and not match(line, "sync/work/thread%.lua") and
        not match(line, "%[C%]: in function 'xpcall'") and
        not match(line, "%[C%]: in function 'error'") and not match(line, "%[C%]: at 0x") then
        lines[#lines + 1] = line
      end
    end
    return {false, tostring(problem), table.concat(lines, "\n")}
  end

  local function pack(...) return {true, select("#", ...), ...} end

  return function(number, code, given)
    local arguments = decode(given)
    local fn = find(number, code)
    local function call() return pack(fn(unpack(arguments, 2, arguments[1] + 1))) end
    local _, result = xpcall(call, trace)
    if type(result) ~= "table" then result = {false, tostring(result), ""} end -- out of memory
    local ok, bytes = pcall(encode, result)
    if ok then return bytes end
    return encode {false, "the result can't be taken along: " .. tostring(bytes), ""}
  end
end
