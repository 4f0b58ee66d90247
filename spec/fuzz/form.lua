-- Fuzzes the reader of forms: mutated bodies, urlencoded and multipart. Run:
--
--     ./sync-lua spec/fuzz/form.lua [HOW_MANY=100000] [SEED=1]
--
-- Checked of each: it is read, or refused by a status, in little time; what is read keeps to the
-- bounds, and has no more bytes than came; a file's name is no path. Whole ones are read as they
-- were written.

local form = require "sync.http.form"
local refusal = require "sync.http.refusal"

local howMany, seed = ...
local HOW_MANY, SEED = tonumber(howMany or 100000), tonumber(seed or 1)
local MOST_SECONDS = 1 -- of processor time for one body
local BOUNDS = {maxFields = 20, maxFieldName = 40, maxField = 2000}
local STATUSES = {[400] = true, [413] = true, [415] = true}

local random = math.random

local function failed(what, bytes)
  io.stderr:write(("form: %s (seed %d): %q\n"):format(what, SEED, bytes))
  os.exit(1)
end

local function text(most)
  local bytes = {}
  for i = 1, random(0, most) do bytes[i] = string.char(random(0, 255)) end
  return table.concat(bytes)
end

local function token(most)
  return (text(most):gsub("[^%w]", "x"))
end

-- A form as a browser writes it: its body, its type and its fields.
local function multipart()
  local boundary, fields, parts = "b" .. token(20), {}, {}
  for i = 1, random(0, 6) do
    local field = {name = token(12), value = (text(60):gsub("%-%-", "++"))}
    local head = ('Content-Disposition: form-data; name="%s"'):format(field.name)
    if random(3) == 1 then
      field.isFile = true
      head = head .. '; filename="' .. token(9) .. 'f"\r\nContent-Type: text/plain'
    end
    fields[i] = field
    parts[i] = ("--%s\r\n%s\r\n\r\n%s\r\n"):format(boundary, head, field.value)
  end
  return table.concat(parts) .. "--" .. boundary .. "--\r\n",
    "multipart/form-data; boundary=" .. boundary, fields
end

local function urlencoded()
  local fields, parts = {}, {}
  for i = 1, random(0, 6) do
    local field = {name = token(12), value = text(60)}
    fields[i] = field
    parts[i] = field.name .. "=" .. field.value:gsub("[^%w]", function(byte)
      return ("%%%02x"):format(byte:byte())
    end)
  end
  return table.concat(parts, "&"), "application/x-www-form-urlencoded", fields
end

local PIECES = {"\r\n", "--", "\r\n\r\n", "\"", ";", "=", "&", "%", "name=", "filename=\"../x\"",
  "Content-Disposition: form-data;", "\0", "--b", "boundary="}

local function damaged(bytes)
  for _ = 1, random(1, 4) do
    local at, how = random(0, #bytes), random(5)
    if how == 1 then
      bytes = bytes:sub(1, at)
    elseif how == 2 then
      bytes = bytes:sub(1, at) .. bytes:sub(at + random(1, 20))
    elseif how == 3 then
      bytes = bytes:sub(1, at) .. PIECES[random(#PIECES)] .. bytes:sub(at + 1)
    elseif how == 4 then
      bytes = bytes:sub(1, at) .. string.char(random(0, 255)) .. bytes:sub(at + 2)
    else
      local from = random(0, #bytes)
      bytes = bytes:sub(1, at) .. bytes:sub(from, from + random(1, 200)) .. bytes:sub(at + 1)
    end
  end
  return bytes
end

-- Reads a form. Returns it, or nil when it is refused.
local function read(kind, body)
  local begun = os.clock()
  local ok, result = pcall(form.read, kind, body, BOUNDS)
  if os.clock() - begun > MOST_SECONDS then failed("it takes too long", body) end
  if ok then return result end
  if not refusal.is(result) or not STATUSES[result.status] then
    failed("an error: " .. tostring(result), body)
  end
end

local function check(result, body)
  local bytes = 0
  if #result > BOUNDS.maxFields then failed("too many fields", body) end
  for _, field in ipairs(result) do
    local size = #(field.value or field.body)
    bytes = bytes + size
    if #field.name > BOUNDS.maxFieldName or size > BOUNDS.maxField then
      failed("a field beyond its bound", body)
    end
    local filename = field.filename
    if filename and (filename:find "[%c/\\]" or filename == ".." or #filename > 255) then
      failed("a file's name is a path", body)
    end
  end
  if bytes > #body then failed("more came out than went in", body) end
end

local function compare(result, fields, body)
  if not result or #result ~= #fields then failed("fields are missing", body) end
  for i, field in ipairs(fields) do
    local got = result[i]
    if got.name ~= field.name or (got.value or got.body) ~= field.value or
      (got.filename ~= nil) ~= (field.isFile == true) then
      failed("a field changed", body)
    end
  end
end

math.randomseed(SEED)
local refused, began = 0, os.clock()
for i = 1, HOW_MANY do
  local body, kind, fields = (i % 2 == 0 and urlencoded or multipart)()
  local whole = read(kind, body)
  compare(whole, fields, body)
  check(whole, body)
  local broken = damaged(body)
  local result = read(random(20) == 1 and damaged(kind) or kind, broken)
  if result then check(result, broken) else refused = refused + 1 end
end
print(("%d forms came back, %d of as many damaged ones were refused; %.0f s"):format(HOW_MANY,
  refused, os.clock() - began))
