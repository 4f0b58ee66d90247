--- Values as a person reads them, within bounds.
-- @module sync.console.show

local MOST_DEPTH, MOST_ENTRIES, MOST_TEXT = 3, 200, 400

local function quoted(text)
  local cut = #text > MOST_TEXT and text:sub(1, MOST_TEXT) .. "…" or text
  return ("%q"):format(cut):gsub("\\\n", "\\n"):gsub("[%z\1-\31\127]", function(byte)
    return ("\\%d"):format(byte:byte())
  end)
end

-- What a value says of itself; its __tostring may fail.
local function textOf(value)
  local ok, text = pcall(tostring, value)
  return ok and tostring(text):sub(1, MOST_TEXT) or type(value)
end

local write

local function key(name)
  if type(name) == "string" and name:find "^[%a_][%w_]*$" then return name end
  return "[" .. (type(name) == "string" and quoted(name) or textOf(name)) .. "]"
end

local function entries(value, parts, state, depth)
  local count = #value
  for i = 1, math.min(count, state.left) do write(rawget(value, i), parts, state, depth, "") end
  for name, field in next, value do
    if state.left <= 0 then break end
    if not (type(name) == "number" and name >= 1 and name <= count and name % 1 == 0) then
      write(field, parts, state, depth, key(name) .. " = ")
    end
  end
end

function write(value, parts, state, depth, label)
  local indent = ("  "):rep(depth)
  state.left = state.left - 1
  if state.left < 0 then return end
  local isPlain = type(value) == "table" and not state.seen[value] and depth < MOST_DEPTH
  if not isPlain or next(value) == nil then
    local text = type(value) == "string" and quoted(value) or
      type(value) == "table" and next(value) == nil and not getmetatable(value) and "{}" or
      textOf(value)
    parts[#parts + 1] = indent .. label .. text
    return
  end
  state.seen[value] = true
  local meta = getmetatable(value)
  local named = type(meta) == "table" and rawget(meta, "className")
  parts[#parts + 1] = indent .. label .. (named and tostring(named) .. " {" or "{")
  entries(value, parts, state, depth + 1)
  parts[#parts + 1] = indent .. "}"
end

--- A value as text.
-- @treturn string of one line or several
return function(value)
  local parts, state = {}, {left = MOST_ENTRIES, seen = {}}
  write(value, parts, state, 0, "")
  if state.left < 0 then parts[#parts + 1] = "… (there is more than is shown)" end
  return table.concat(parts, "\n")
end
