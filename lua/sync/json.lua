--- Values as JSON, and back. What was read is written as it came: lists stay lists, an empty
-- one too, and a number reads back as the same one, whole ones up to 2^53 in full.
--
-- The C core takes texts apart and puts them together; tables are made and walked here, so
-- that the JIT compiles all of it.
--
-- A table is written as a list if it is marked as one (`sync.list`, and each list that was
-- read), or if its keys are whole numbers from 1 on: holes are null, unless there are more
-- than 64 places and three quarters of them are holes. Any other table is an object.
-- @module sync.json

local core = require "sync.core"
local listMark = require "sync.list".mark
local null = require "cjson".null

local C = core.C
local toString = core.string
local isText = C.sync_is_text

local json = {}

local MOST_DEPTH = 64
local SAFE_PLACES, MOST_HOLES = 64, 4 -- of a list: this many, or a quarter of them filled

local codec = core.json()

local NULL, FALSE, TRUE = C.SYNC_JSON_NULL, C.SYNC_JSON_FALSE, C.SYNC_JSON_TRUE
local NUMBER, STRING, KEY = C.SYNC_JSON_NUMBER, C.SYNC_JSON_STRING, C.SYNC_JSON_KEY
local LIST, OBJECT, END = C.SYNC_JSON_LIST, C.SYNC_JSON_OBJECT, C.SYNC_JSON_END

-- Reading. The lists and objects under way, outermost first, and the last place of each; an
-- object's is -1. One loop without calls: it becomes one trace.

local open, places = {}, {}

local function build(count)
  local tokens = codec.tokens
  local root = {}
  local into, place, level, key = root, 0, 0, ""
  for i = 0, count - 1 do
    local token = tokens[i]
    local kind, value = token.kind, null
    if kind == KEY then
      key = toString(token.text, token.length)
    elseif kind == END then
      into, place = open[level], places[level]
      level = level - 1
    else
      if kind == STRING then value = toString(token.text, token.length)
      elseif kind == NUMBER then value = token.number
      elseif kind == LIST then value = setmetatable({}, listMark)
      elseif kind == OBJECT then value = {}
      elseif kind == TRUE then value = true
      elseif kind == FALSE then value = false
      end
      if place >= 0 then
        place = place + 1
        into[place] = value
      else
        into[key] = value
      end
      if kind == LIST or kind == OBJECT then
        level = level + 1
        open[level], places[level] = into, place
        into, place = value, kind == LIST and 0 or -1
      end
    end
  end
  for i = 1, MOST_DEPTH do
    if open[i] == nil then break end
    open[i] = nil -- holds on to nothing
  end
  return root[1]
end

--- Reads a value.
-- @tparam string text
-- @tparam[opt=64] number depth to which lists and objects may be nested, at most 64
-- @treturn boolean,any true and the value, where null is `sync.null`; or false and what is wrong
function json.decode(text, depth)
  if isText(text, #text) == 0 then return false, "this is not UTF-8" end
  open[0] = text -- it must live while tokens point into it
  local count = C.sync_json_read(codec, text, #text, depth or MOST_DEPTH)
  if count < 0 then
    return false, ("this is no JSON: %s, at byte %d"):format(toString(codec.problem),
      tonumber(codec.position) + 1)
  end
  local value = build(count)
  open[0] = nil
  return true, value
end

-- Writing.

-- Why the text under way can't be one, or false.
local problem = false
-- Whether what it is of is nothing but JSON: a date becomes an object, which is less.
local isPlain = true

local function isList(value)
  local mark = getmetatable(value)
  local kind = type(mark) == "table" and rawget(mark, "amf")
  return kind == "list" or kind == "vector"
end

-- How many places a table has as a list; nil if it is an object.
local function placesOf(value)
  local most, count = 0, 0
  for key in pairs(value) do
    if type(key) ~= "number" or key < 1 or key % 1 ~= 0 then return nil end
    if key > most then most = key end
    count = count + 1
  end
  if most > SAFE_PLACES and most > count * MOST_HOLES then return nil end
  if count == 0 and not isList(value) then return nil end
  return most
end

local put

local function putKey(key)
  if type(key) == "number" then key = ("%.14g"):format(key) end
  if type(key) ~= "string" then
    problem = ("a %s can't be the name of a member"):format(type(key))
    return
  end
  C.sync_json_key(codec, key, #key)
end

local function putTable(value, depth)
  if depth == 0 then
    problem = ("tables are nested more than %d deep"):format(MOST_DEPTH)
    return
  end
  local mark = getmetatable(value)
  if mark and mark ~= listMark and type(mark) == "table" and rawget(mark, "amf") then
    isPlain = false
  end
  local count = placesOf(value)
  if count then
    C.sync_json_put(codec, LIST)
    for i = 1, count do
      put(rawget(value, i), depth - 1) -- nobody else's code runs meanwhile
      if problem then return end
    end
    C.sync_json_raw(codec, "]", 1)
    return
  end
  C.sync_json_put(codec, OBJECT)
  for key, item in pairs(value) do
    putKey(key)
    put(item, depth - 1)
    if problem then return end
  end
  C.sync_json_raw(codec, "}", 1)
end

function put(value, depth)
  local kind = type(value)
  if kind == "string" then
    C.sync_json_string(codec, value, #value)
  elseif kind == "number" then
    if value - value ~= 0 then problem = "a number in it is not finite" end
    C.sync_json_number(codec, value)
  elseif kind == "table" then
    putTable(value, depth)
  elseif value == nil or value == null then
    C.sync_json_put(codec, NULL)
  elseif kind == "boolean" then
    C.sync_json_put(codec, value and TRUE or FALSE)
  else
    problem = ("a %s is no value of JSON"):format(kind)
  end
end

--- Begins a text of several values.
-- @tparam string bytes that are JSON already
function json.begin(bytes)
  problem, isPlain = false, true
  C.sync_json_begin(codec, bytes, #bytes)
end

--- Appends a value to the text, behind a comma where one is due.
-- @treturn string|false what is wrong with the text so far
function json.put(value)
  if not problem then put(value, MOST_DEPTH) end
  return problem
end

--- Appends bytes as they are.
function json.raw(bytes)
  C.sync_json_raw(codec, bytes, #bytes)
end

--- Ends the text.
-- @treturn string|nil the text, or nil and why there is none
function json.finish()
  if problem then return nil, problem end
  if C.sync_json_end(codec) ~= 0 then return nil, "there is not enough memory for it" end
  if isText(codec.written, codec.length) == 0 then return nil, "a string in it is not UTF-8" end
  return toString(codec.written, codec.length)
end

--- Whether the text that was begun last says all of what it is of: no date, and nothing else that
-- JSON has no word for.
-- @treturn boolean
function json.isPlain()
  return isPlain
end

--- A value as JSON.
-- @treturn string|nil or nil and why not
function json.encode(value)
  json.begin("")
  json.put(value)
  return json.finish()
end

return json
