--- The places of parameters in a statement: `?`, but not in texts, names and comments.
-- @module sync.sql.places

local places = {}

-- Where what begins at `at` ends: a text, a quoted name, a comment, PostgreSQL's $tag$ text.
-- Nil when nothing of this kind begins there.
local function skip(sql, at, backslashes)
  local byte = sql:sub(at, at)
  if byte == "'" or byte == '"' or byte == "`" then
    local escaped = backslashes and byte ~= "`" or
      byte == "'" and sql:find("^[eE]", at - 1) and not sql:find("^[%w_]", at - 2)
    local from = at + 1
    while true do
      local stop = sql:find(escaped and "[\\" .. byte .. "]" or byte, from)
      if not stop then return #sql end
      if sql:sub(stop, stop) == byte then return stop end -- two of them are two texts
      from = stop + 2
    end
  elseif byte == "-" and sql:find("^%-%-", at) or byte == "#" and backslashes then
    return sql:find("\n", at, true) or #sql
  elseif byte == "/" and sql:find("^/%*", at) then
    return select(2, sql:find("*/", at + 2, true)) or #sql
  elseif byte == "$" and not backslashes then
    local tag = sql:match("^%$[%a_]?[%w_]*%$", at)
    return tag and (select(2, sql:find(tag, at + #tag, true)) or #sql)
  end
end

--- Counts the places, and may write others.
-- @tparam string sql
-- @tparam boolean isMySQL a backslash in a text escapes what follows it
-- @treturn number how many there are
-- @treturn string the statement with $1, $2, … for them; `??` is a question mark
function places.number(sql, isMySQL)
  local parts, count, from, at = {}, 0, 1, 1
  while true do
    at = sql:find("[?'\"`%-/$#]", at)
    if not at then break end
    if sql:sub(at, at + 1) == "??" then
      parts[#parts + 1] = sql:sub(from, at)
      at, from = at + 2, at + 2
    elseif sql:sub(at, at) == "?" then
      count = count + 1
      parts[#parts + 1] = sql:sub(from, at - 1) .. "$" .. count
      at, from = at + 1, at + 1
    else
      at = (skip(sql, at, isMySQL) or at) + 1
    end
  end
  return count, table.concat(parts) .. sql:sub(from)
end

return places
