--- The mark of a list: a table that is one whatever it holds, so that an empty one stays one.
-- Readers of JSON and of AMF put it on what they read; writers of both honour it.
-- @module sync.list

local list = {}

--- The metatable of lists.
list.mark = {amf = "list"}

--- Marks a table as a list, whatever it holds: what is at 1, 2, ... are its items.
-- @function sync.list
-- @tparam[opt={}] table items
-- @treturn table the same table
-- @usage return sync.list(names) -- [] where there are none, not {}
function list.new(items)
  items = items == nil and {} or items
  if type(items) ~= "table" then
    error("sync.list(items): it takes a table, not " .. type(items), 2)
  end
  return setmetatable(items, list.mark)
end

return list
