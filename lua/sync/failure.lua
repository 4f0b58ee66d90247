--- Errors of handlers, as the log tells them: what happened, what to do where it is known, and the
-- script's own lines of the traceback.
-- @module sync.failure

local core = require "sync.core"
local log = require "sync.log"
local reserved = require "sync.reserved"

local failure = {}

-- Lines of a traceback that say nothing of the script: this library's, and C's.
local function isOurs(line)
  local source = line:match("^%s*(.-):%d+: in ")
  return source == nil or reserved.isOurs("@" .. source)
end

--- Leaves the script's lines of a traceback, and says how many others there were. Level "debug" of
-- the log leaves all.
-- @tparam string traceback
-- @treturn string
function failure.fold(traceback)
  if log.level == "debug" then return traceback end
  local lines, folded, below = {}, 0, false
  for line in traceback:gmatch("[^\n]+") do
    if line:find("^stack traceback") then
      lines[#lines + 1] = line
    elseif isOurs(line) or below and line:find("in main chunk", 1, true) then
      folded, below = folded + 1, below or #lines > 1
    else
      lines[#lines + 1] = line
    end
  end
  if #lines == 1 then return traceback end -- it is all ours
  if folded > 0 then
    lines[#lines + 1] = ("\t(%d more, not the script's; --log=debug shows them)"):format(folded)
  end
  return table.concat(lines, "\n")
end

-- What was raised, as text: also that of a table whose own __tostring fails.
local function textOf(raised)
  local ok, text = pcall(tostring, raised)
  return ok and text or "error value is a " .. type(raised)
end

-- What a person may not see from the words of an error.
local function hint(text, client)
  if text:find("attempt to yield", 1, true) then
    return "what waits belongs into sync.spawn(function() … end); a handler may not yield"
  end
  if text:find("global 'sync' (a nil value)", 1, true) then
    return 'begin the script with: local sync = require "sync"'
  end
  local name = client and text:find("attempt to call", 1, true) and reserved.hidden(client)
  if name then
    return ("the client's field %s hides the method of that name"):format(name)
  end
end

--- What was raised, as text, with what to do.
-- @param raised
-- @tparam[opt] table client whose handler it was
-- @treturn string
function failure.describe(raised, client)
  local text = textOf(raised)
  local more = hint(text, client)
  return more and text .. " (" .. more .. ")" or text
end

--- A message handler of xpcall: keeps what was raised, and from where.
-- @treturn table `raised` and `traceback`
function failure.catch(raised)
  core.C.sync_watchdog_caught()
  return {raised = raised, traceback = failure.fold(debug.traceback("", 2):sub(2))}
end

--- The same as one text.
-- @treturn string
function failure.trace(raised)
  core.C.sync_watchdog_caught()
  return failure.describe(raised) .. "\n" .. failure.fold(debug.traceback("", 2):sub(2))
end

return failure
