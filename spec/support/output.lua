-- What a run of the specs prints: nothing of what passed, each failure with its place,
-- name and message, and at the end `N passed, N failed`. Specs that are slower than
-- SLOW seconds are named, so that they stay few.

local busted = require "busted"
local pretty = require "pl.pretty"

local SLOW = 3

local function place(trace)
  return trace and trace.short_src and
    ("%s:%s"):format(trace.short_src, trace.currentline or "?") or "?"
end

local function text(message)
  if message == nil then return "error without a message" end
  return type(message) == "string" and message or pretty.write(message)
end

return function()
  local handler = require "busted.outputHandlers.base"()

  local function describe(kind, entry)
    local message = text(entry.message):gsub("\n", "\n    ")
    io.write(("%s: %s\n  %s\n    %s\n"):format(kind, entry.name,
      place(entry.element.trace or entry.trace), message))
    local traceback = entry.isError and entry.trace and entry.trace.traceback
    if traceback then io.write("    ", (traceback:gsub("\n", "\n    ")), "\n") end
  end

  function handler.testEnd(element)
    local seconds = (element.duration or 0)
    if seconds > SLOW then
      io.write(("%.1f s: %s\n"):format(seconds, handler.getFullName(element)))
    end
    io.flush()
    return nil, true
  end

  function handler.suiteEnd()
    for _, entry in ipairs(handler.pendings) do describe("SKIPPED", entry) end
    for _, entry in ipairs(handler.failures) do describe("FAILED", entry) end
    for _, entry in ipairs(handler.errors) do describe("FAILED", entry) end
    io.write(("%d passed, %d failed\n"):format(handler.successesCount,
      handler.failuresCount + handler.errorsCount))
    io.flush()
    return nil, true
  end

  busted.subscribe({"test", "end"}, handler.testEnd)
  busted.subscribe({"suite", "end"}, handler.suiteEnd)
  return handler
end
