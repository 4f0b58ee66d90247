--- Functions that were declared to wait, by the plain functions that stand for them: see
-- lua/sync/waits.lua. What names a function, or looks at its code, wants the one behind.
-- @module sync.declared

return setmetatable({}, {__mode = "k"})
