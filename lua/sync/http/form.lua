--- The fields of a form, from a request's body: as browsers send them, urlencoded or as
-- multipart/form-data (RFC 7578), within bounds.
--
-- A form has texts by the fields' names, of repeated ones the first; a file is a table with
-- `filename`, `type` and `body`. As a list it has all fields in order: `{name=, value=}`, or
-- `{name=, filename=, type=, body=}`. A file input that was left empty is not there.
-- @module sync.http.form

local refusal = require "sync.http.refusal"

local MOST_HEAD = 4096     -- bytes of a part's headers
local MOST_FILENAME = 255
local MOST_BOUNDARY = 70   -- bytes (RFC 2046)

local form = {}

local function refuse(status, ...)
  error(refusal.new(status, (...):format(select(2, ...))), 0)
end

local function decode(text)
  text = text:gsub("+", " ")
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

-- Adds a field to a form.
local function add(into, bounds, field)
  local count = #into + 1
  if count > bounds.maxFields then refuse(413, "a form has at most %d fields", bounds.maxFields) end
  if #field.name > bounds.maxFieldName then
    refuse(413, "a field's name has at most %d bytes", bounds.maxFieldName)
  end
  local size = #(field.value or field.body)
  if bounds.maxField and size > bounds.maxField then
    refuse(413, "a field has at most %d bytes", bounds.maxField)
  end
  into[count] = field
  if into[field.name] == nil then into[field.name] = field.value or field end
end

--- @tparam string body
-- @tparam table bounds `maxFields`, `maxFieldName`, `maxField` (false: none)
-- @treturn table
-- @raise a refusal
function form.urlencoded(body, bounds)
  local into = {}
  for pair in body:gmatch "[^&]+" do
    local name, value = pair:match "^([^=]*)=?(.*)$"
    add(into, bounds, {name = decode(name), value = decode(value)})
  end
  return into
end

-- What browsers write for the characters that would end a name.
local ESCAPED = {["%22"] = '"', ["%0D"] = "\r", ["%0A"] = "\n"}

local function unescape(text)
  return (text:gsub("%%%x%x", ESCAPED))
end

-- A file's name is the client's word: of a path the last part is left, without what would be one.
local function basename(text)
  local name = unescape(text):gsub("%c", ""):match "([^/\\]*)$"
  if name == "." or name == ".." then return "file" end
  return name:sub(1, MOST_FILENAME)
end

-- A parameter of Content-Disposition.
local function parameter(header, name)
  return header:match(";%s*" .. name .. '="([^"]*)"') or
    header:match(";%s*" .. name .. '=([^%s;"]+)')
end

-- A part's headers, by name.
local function headersOf(text)
  local headers = {}
  for line in (text .. "\r\n"):gmatch "(.-)\r\n" do
    local name, value = line:match "^([%w-]+):%s*(.-)%s*$"
    if name then headers[name:lower()] = value end
  end
  return headers
end

local function takePart(into, bounds, head, body)
  local headers = headersOf(head)
  local disposition = headers["content-disposition"] or ""
  if not disposition:lower():find "^form%-data%s*;" then
    refuse(400, "a part of the form is no form-data")
  end
  local name = parameter(disposition, "name")
  if not name then refuse(400, "a part of the form has no name") end
  name = unescape(name)
  local filename = parameter(disposition, "filename")
  if not filename then return add(into, bounds, {name = name, value = body}) end
  if filename == "" and body == "" then return end
  local kind = headers["content-type"] or "application/octet-stream"
  add(into, bounds, {name = name, filename = basename(filename), body = body,
    type = kind:gsub("[^\32-\126]", ""):sub(1, 128)})
end

--- @tparam string body
-- @tparam string boundary what stands between the parts
-- @tparam table bounds as for urlencoded
-- @treturn table
-- @raise a refusal
function form.multipart(body, boundary, bounds)
  local into, line = {}, "--" .. boundary
  local at
  if body:sub(1, #line) == line then
    at = #line + 1
  else -- what stands before the first boundary is of no meaning
    local _, stop = body:find("\r\n" .. line, 1, true)
    if not stop then refuse(400, "the form does not begin with its boundary") end
    at = stop + 1
  end
  while body:sub(at, at + 1) ~= "--" do
    local _, begun = body:find("^[ \t]*\r\n", at)
    if not begun then refuse(400, "behind a boundary a line must end") end
    local headEnd, bodyBegin = body:find("\r\n\r\n", begun - 1, true)
    if not headEnd then refuse(400, "a part of the form has no end") end
    if headEnd - begun > MOST_HEAD then refuse(413, "a part's headers are too long") end
    local bodyEnd, stop = body:find("\r\n" .. line, bodyBegin - 1, true)
    if not bodyEnd then refuse(400, "a part of the form has no end") end
    takePart(into, bounds, body:sub(begun + 1, headEnd - 1), body:sub(bodyBegin + 1, bodyEnd - 1))
    at = stop + 1
  end
  return into
end

--- Reads a form.
-- @tparam string|nil contentType the request's
-- @tparam string body
-- @tparam table bounds
-- @treturn table
-- @raise a refusal: 400, 413, or 415 for what is no form
function form.read(contentType, body, bounds)
  local kind = (contentType or ""):lower():match "^[^;%s]*"
  if kind == "application/x-www-form-urlencoded" then return form.urlencoded(body, bounds) end
  if kind == "multipart/form-data" then
    local boundary = contentType:match '[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]="([^"]+)"' or
      contentType:match '[Bb][Oo][Uu][Nn][Dd][Aa][Rr][Yy]=([^%s;"]+)'
    if not boundary or #boundary > MOST_BOUNDARY or boundary:find "[^%w'()+_,./:=? -]" then
      refuse(400, "the form's boundary is missing, or is none")
    end
    return form.multipart(body, boundary, bounds)
  end
  refuse(415, "this must be a form: application/x-www-form-urlencoded or multipart/form-data")
end

return form
