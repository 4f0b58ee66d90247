--- What a web folder says over HTTP (RFC 9110): which file a request means, of what type it
-- is, and with which status, headers and bytes it is answered. It reads no file.
--
-- Of programs and secrets no file is served, wherever it lies: a folder that PHP once ran in
-- would else give its passwords away.
-- @module sync.http.files

local date = require "sync.http.date"
local types = require "sync.http.types"

local floor, min, max = math.floor, math.min, math.max

local files = {}

local LONGEST_PATH = 4096

local SOURCES = {}
for extension in ([[php php3 php4 php5 php7 php8 phtml phps phar inc lua luac py pyc rb erb pl pm
  cgi asp aspx asa asax ascx ashx asmx jsp jspx cfm cfc env sql sqlite sqlite3 db mdb htpasswd
  key pem p12 pfx bak old orig swp]]):gmatch("%S+") do SOURCES[extension] = true end

--- Whether a file is a program of a server, or holds secrets, by its name.
-- @tparam string path
-- @treturn boolean
function files.isSource(path)
  local extension = path:match("%.([^./]+)$")
  return path:find("~$") ~= nil or extension ~= nil and SOURCES[extension:lower()] == true
end

-- A segment of a path without its escapes, or nil and what is wrong with it. A slash in it
-- cannot be part of a file's name, and proxies differ in what they make of it.
local function decode(segment)
  if segment:gsub("%%%x%x", ""):find("%", 1, true) then
    return nil, "an escape is % and two hexadecimal digits"
  end
  local text = segment:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end)
  if text:find("%c") then return nil, "there is a NUL or control character in the path" end
  if text:find("[/\\]") then return nil, "there is an escaped slash or a backslash in the path" end
  return text
end

-- The path and query of a request target in origin-form or absolute-form (RFC 9112, 3.2),
-- as they came.
local function split(target)
  if target:find("[^!-~]") or target:find("#", 1, true) then
    return nil, "a request target is of visible ASCII characters, without #"
  end
  local scheme, host, rest = target:match("^(%a[%w+.-]*)://([^/?]*)(.*)$")
  if scheme then
    scheme = scheme:lower()
    if host == "" or scheme ~= "http" and scheme ~= "https" then
      return nil, "a URL begins with http://, or https://, and a host"
    end
    target = rest:find("^/") and rest or "/" .. rest
  end
  local path, query = target:match("^(/[^?]*)%??(.*)$")
  if not path then return nil, "a request target begins with a slash" end
  return path, query
end

--- The file that a request means.
--
-- The path is decoded, once, and its "." and ".." are resolved. So it names a file beneath
-- a folder: it is relative, holds no ".", "..", empty segment, backslash or control
-- character, and ends with a slash where it came so, as a folder's does. "" is the folder
-- itself. It is not checked to be UTF-8, for names of files are bytes.
--
-- What begins with a dot is hidden, but for ".well-known".
-- @tparam string target a request's, "/a%20b/c?x=1" or "http://host/a%20b/c?x=1"
-- @treturn[1] string the path, "a b/c"
-- @treturn[1] string the query as it came, "x=1"; "" for none
-- @treturn[2] nil
-- @treturn[2] number 400 for what makes no sense or leaves the folder, 404 for what is
-- hidden, 414 for a path of more than 4096 bytes
-- @treturn[2] string why
function files.path(target)
  local path, query = split(target)
  if not path then return nil, 400, query end
  if #path > LONGEST_PATH then
    return nil, 414, ("the path is longer than %d bytes"):format(LONGEST_PATH)
  end
  local names, count = {}, 0
  local slash = false
  for segment in path:gmatch("[^/]+") do
    local name, why = decode(segment)
    if not name then return nil, 400, why end
    slash = name == "." or name == ".."
    if name == ".." then
      if count == 0 then return nil, 400, "the path leaves the folder" end
      names[count] = nil
      count = count - 1
    elseif name ~= "." then
      count = count + 1
      names[count] = name
    end
  end
  for _, name in ipairs(names) do
    if name:find("^%.") and name ~= ".well-known" then return nil, 404, "hidden" end
  end
  slash = (slash or path:find("/$")) and count > 0
  return table.concat(names, "/") .. (slash and "/" or ""), query
end

--- The entity tag of a file: a strong one, for each change makes another, unless two of
-- the same size fall in the same tick of the file system's clock (some milliseconds).
-- @tparam number size in bytes
-- @tparam number mtime of its last change, in seconds since 1970
-- @tparam[opt=0] number mtimeNs and nanoseconds
-- @treturn string with its quotes
function files.etag(size, mtime, mtimeNs)
  return ('"%x-%x-%x"'):format(size, mtime, mtimeNs or 0)
end

-- Whether an entity tag, a strong one, is in a list of them, or the list is "*". In the
-- weak comparison (RFC 9110, 8.8.3.2) a weak one in the list may be the same. What comes
-- behind something else than a tag isn't looked at.
local function isListed(etag, list, weakly)
  if list:find("^[ \t]*%*[ \t]*$") then return true end
  local from = list:match("^[ \t,]*()")
  while from <= #list do
    local weak, tag, behind = list:match('^(W?/?)("[!#-~\128-\255]*")[ \t]*()', from)
    if not tag or weak ~= "" and weak ~= "W/" then return false end
    if tag == etag and (weakly or weak == "") then return true end
    from = list:match("^,[ \t,]*()", behind)
    if not from then return false end
  end
  return false
end

-- 304 or 412 when a condition of the request says so, in the order of RFC 9110, 13.2.2. A
-- date that is none is as if it weren't there.
local function precondition(headers, etag, modified, now)
  local function moment(name) return headers[name] and date.read(headers[name], now) end
  if headers["if-match"] then
    if not isListed(etag, headers["if-match"], false) then return 412 end
  else
    local since = moment "if-unmodified-since"
    if since and modified > since then return 412 end
  end
  if headers["if-none-match"] then
    if isListed(etag, headers["if-none-match"], true) then return 304 end
  else
    local since = moment "if-modified-since"
    if since and modified <= since then return 304 end
  end
end

-- Whether the part that a client has is of this file, so that a range of it is the rest.
local function isSame(value, etag, modified, now)
  return value == etag or date.read(value, now) == modified
end

-- The first and last byte of a Range of one part; false when no such byte is there; nil
-- when it is to be ignored (RFC 9110, 14.2): other units, several parts, or malformed.
local function parseRange(value, size)
  local first, last = value:match("^[Bb][Yy][Tt][Ee][Ss]=[ \t,]*(%d*)%-(%d*)[ \t,]*$")
  first, last = tonumber(first), tonumber(last)
  if first then
    last = last or math.huge
    if last < first then return nil end
    if first >= size then return false end
    return first, min(last, size - 1)
  end
  if last == 0 then return false end
  if not last or size == 0 then return nil end -- the end of nothing is all of it
  return max(0, size - last), size - 1
end

local function wantedRange(request, file, etag, modified, now)
  local headers = request.headers
  if request.method ~= "GET" or not headers.range then return nil end
  if headers["if-range"] and not isSame(headers["if-range"], etag, modified, now) then
    return nil
  end
  return parseRange(headers.range, file.size)
end

-- An answer without a body. One to a client that has the file, 304, tells no length.
local function empty(status, headers)
  if status ~= 304 then headers[#headers + 1] = {"Content-Length", "0"} end
  return status, headers, 0, 0
end

--- How a request for a file is answered: with it, with a part of it, or with less, as the
-- request's conditions (RFC 9110, 13) and range (14) say. All headers of the answer are
-- told but Date and those of the connection. A browser asks again each time whether what
-- it keeps is still right (Cache-Control: no-cache), and mostly gets 304.
-- @tparam table request `method` and `headers`, by lower-case name, those that came
-- repeatedly joined by commas
-- @tparam table file `path`, `size` in bytes, `mtime` in seconds since 1970, and `mtimeNs`,
-- all of them Lua's own numbers
-- @tparam[opt=os.time()] number now in seconds since 1970
-- @treturn number the status: 200, 206, 304, 405, 412 or 416
-- @treturn {{string,string},...} the headers, in order
-- @treturn number where the part to send begins in the file
-- @treturn number how many bytes are to be sent, 0 for HEAD
function files.answer(request, file, now)
  now = now or os.time()
  local headers = {{"Cache-Control", "no-cache"}, {"X-Content-Type-Options", "nosniff"}}
  local function add(name, value) headers[#headers + 1] = {name, value} end

  if request.method ~= "GET" and request.method ~= "HEAD" then
    add("Allow", "GET, HEAD")
    return empty(405, headers)
  end

  local etag = files.etag(file.size, file.mtime, file.mtimeNs)
  local modified = min(floor(file.mtime), now) -- never in the future (8.8.2.1)
  local status = precondition(request.headers, etag, modified, now)
  if status == 412 then return empty(412, headers) end
  add("ETag", etag)
  if status == 304 then return empty(304, headers) end

  local first, last = wantedRange(request, file, etag, modified, now)
  add("Accept-Ranges", "bytes")
  if first == false then
    add("Content-Range", ("bytes */%d"):format(file.size))
    return empty(416, headers)
  end
  add("Last-Modified", date.write(modified))
  add("Content-Type", types.of(file.path))
  local offset, length = 0, file.size
  if first then
    offset, length = first, last - first + 1
    add("Content-Range", ("bytes %d-%d/%d"):format(first, last, file.size))
  end
  add("Content-Length", ("%d"):format(length))
  return first and 206 or 200, headers, offset, request.method == "GET" and length or 0
end

return files
