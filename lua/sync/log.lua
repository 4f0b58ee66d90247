--- The log: one line an entry, to standard error, for people or as JSON.
--
--     sync.log.info("player joined", {name = name})
--
-- What a client can provoke is logged with a limit: see `log.limited`. Messages are cut at
-- 4,000 bytes, fields at 200. The server never waits for who reads the log: where more than
-- 256 KiB wait, or the disk is full, lines are dropped, and a line says how many. Lines for
-- systemd's journal begin with their priority.
-- @module sync.log

local core = require "sync.core"

local C = core.C
local now = C.sync_now
local LEVELS = {debug = 1, info = 2, warn = 3, error = 4}
local PER_WINDOW, WINDOW = 5, 10 -- entries of one kind, in so many seconds
local MOST_FIELD = 200           -- bytes of a field, and of its name
local MOST_TEXT = 4000           -- of a message, and of a traceback

local log = {level = "info", format = "text"}

local function sortedKeys(fields)
  local keys = {}
  for key in pairs(fields) do keys[#keys + 1] = tostring(key) end
  table.sort(keys)
  return keys
end

local function escaped(char)
  return (char:gsub(".", function(byte) return ("\\x%02x"):format(byte:byte()) end))
end

-- Control characters could move a terminal's cursor, and new lines forge an entry: those
-- that follow the first are indented.
local function printable(text)
  text = tostring(text):gsub("[%z\1-\8\11-\31\127]", escaped)
  return (text:gsub("\194[\128-\159]", escaped):gsub("\n", "\n    "))
end

-- A text's first bytes: what a client sends may be long. No character is cut in two.
local function cut(value, most)
  local text = tostring(value)
  if #text <= most then return text end
  return text:sub(1, most):gsub("[\192-\255][\128-\191]*$", "") .. "…"
end

local function quoted(value)
  local text = printable((cut(value, MOST_FIELD):gsub("\n", "\\n")))
  return text:find("[%s=\"]") and '"' .. text:gsub('"', '\\"') .. '"' or text
end

local function asText(level, message, fields)
  local parts = {os.date("%H:%M:%S"), ("%-5s"):format(level:upper()),
    printable(cut(message, MOST_TEXT))}
  for _, key in ipairs(fields and sortedKeys(fields) or {}) do
    if key ~= "traceback" then
      parts[#parts + 1] = quoted(key) .. "=" .. quoted(fields[key])
    end
  end
  local line = table.concat(parts, " ")
  if fields and fields.traceback then
    line = line .. printable("\n" .. cut(fields.traceback, MOST_TEXT))
  end
  return line
end

-- How many bytes the UTF-8 sequence at i has, or nil if it is none (RFC 3629).
local function sequence(text, i)
  for _, pattern in ipairs {
    "^[%z\1-\127]", "^[\194-\223][\128-\191]", "^\224[\160-\191][\128-\191]",
    "^[\225-\236\238\239][\128-\191][\128-\191]", "^\237[\128-\159][\128-\191]",
    "^\240[\144-\191][\128-\191][\128-\191]",
    "^[\241-\243][\128-\191][\128-\191][\128-\191]",
    "^\244[\128-\143][\128-\191][\128-\191]",
  } do
    local _, last = text:find(pattern, i)
    if last then return last - i + 1 end
  end
end

-- JSON is UTF-8; what a client sent may not be.
local function asUtf8(text)
  if not text:find("[\128-\255]") then return text end
  local parts, i = {}, 1
  while i <= #text do
    local length = sequence(text, i)
    parts[#parts + 1] = length and text:sub(i, i + length - 1) or "\239\191\189"
    i = i + (length or 1)
  end
  return table.concat(parts)
end

local function asJson(level, message, fields)
  local entry = {}
  for key, value in pairs(fields or {}) do
    local plain = type(value) == "number" and value == value and math.abs(value) ~= math.huge
    entry[asUtf8(cut(key, MOST_FIELD))] = (plain or type(value) == "boolean") and value or
      asUtf8(cut(value, key == "traceback" and MOST_TEXT or MOST_FIELD))
  end
  entry.time = os.date("!%Y-%m-%dT%H:%M:%SZ")
  entry.level, entry.message = level, asUtf8(cut(message, MOST_TEXT))
  return require "cjson.safe".encode(entry)
end

local formats = {text = asText, json = asJson}

-- Of sd-daemon(3), by level.
local PRIORITIES = {debug = "<7>", info = "<6>", warn = "<4>", error = "<3>"}

local isJournal = C.sync_log_is_journal() ~= 0

-- Each line of an entry, for it is an entry of the journal's.
local function withPriority(level, lines)
  return PRIORITIES[level] .. lines:gsub("\n", "\n" .. PRIORITIES[level])
end

--- Has the log written to the end of a file, which SIGHUP has opened anew.
-- @tparam string path
-- @treturn boolean true, or nil and a message
function log.open(path)
  local code = C.sync_log_open(path)
  if code < 0 then
    return nil, ("log: %s can't be opened: %s"):format(path, (select(2, core.problem(code))))
  end
  isJournal = false
  return true
end

--- Opens the log's file anew, if there is one: it may have been moved away.
function log.reopen()
  if C.sync_log_reopen() == 1 then log.info "opened the log's file again" end
end

--- Writes lines to standard error without waiting for who reads them: a thread does it.
-- @tparam string lines
function log.print(lines)
  C.sync_log_write(lines .. "\n", #lines + 1, log.format == "json" and 1 or 0)
end

--- Where lines go; a function of one line, for tests and for other logs.
log.write = log.print

--- Chooses what is logged and how.
-- @tparam string choice "debug", "info", "warn", "error", "text", "json", or several of
-- them with commas between
-- @treturn boolean true, or nil and a message
function log.configure(choice)
  for word in choice:gmatch("[^,%s]+") do
    if LEVELS[word] then
      log.level = word
    elseif formats[word] then
      log.format = word
    else
      return nil, ("log: %q is neither a level (debug, info, warn, error) " ..
        "nor a format (text, json)"):format(word)
    end
  end
  return true
end

local function entry(level, message, fields)
  if LEVELS[level] < LEVELS[log.level] then return end
  local lines = formats[log.format](level, message, fields)
  log.write(isJournal and withPriority(level, lines) or lines)
end

--- Logs at a level.
-- @function debug
-- @tparam string message
-- @tparam[opt] table fields
for level in pairs(LEVELS) do
  log[level] = function(message, fields) entry(level, message, fields) end
end

-- By kind. The kinds are words of the source, so there are few.
local windows = {}

--- Logs something a client can provoke: at most 5 entries of a kind in 10 seconds. What
-- was left out is counted in the next one.
-- @tparam string level
-- @tparam string kind must not come from a client
-- @tparam string message
-- @tparam[opt] table fields
function log.limited(level, kind, message, fields)
  local time = now()
  local window = windows[kind]
  if not window then
    window = {start = time, count = 0, left = 0}
    windows[kind] = window
  end
  if time - window.start >= WINDOW then
    if window.left > 0 then
      entry(level, ("%d more like this were left out: %s"):format(window.left, kind))
    end
    window.start, window.count, window.left = time, 0, 0
  end
  if window.count >= PER_WINDOW then
    window.left = window.left + 1
    return
  end
  window.count = window.count + 1
  entry(level, message, fields)
end

return log
