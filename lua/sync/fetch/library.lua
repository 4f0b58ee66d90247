--- What src/fetch does, with Lua's strings. Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.fetch.library

local core = require "sync.core"
local ffi = require "ffi"

ffi.cdef(require "sync.fetch.cdef")

local C, handle, toString = core.C, core.handle, core.string

local MESSAGE = 256
local LONGEST_URL = 8192

local library = {
  STREAMS = tonumber(C.SYNC_FETCH_STREAMS),
  ONCE = tonumber(C.SYNC_FETCH_ONCE),
  ASKS = tonumber(C.SYNC_FETCH_ASKS),
  ENDED = tonumber(C.SYNC_FETCH_ENDED),
  LOST = tonumber(C.SYNC_FETCH_LOST),
}

local message = ffi.new("char[?]", MESSAGE)
local url = ffi.new("char[?]", LONGEST_URL)

--- Opens libcurl.
-- @treturn boolean|nil true, or nil and what lacks
function library.load()
  if C.sync_fetch_load(message, MESSAGE) == 0 then return true end
  return nil, toString(message)
end

--- A URL in full, as libcurl reads it.
-- @tparam string|nil base where a relative one is seen from
-- @tparam string text
-- @treturn string|nil nil: it is none
function library.url(base, text)
  local length = C.sync_fetch_url(base, text, url, LONGEST_URL)
  return length > 0 and toString(url, length) or nil
end

-- A list of texts as C wants it; they must be kept as long.
local function texts(list)
  local made = ffi.new("const char *[?]", #list + 1)
  for i, text in ipairs(list) do made[i - 1] = text end
  return made
end

--- Whether these are networks; else which isn't one.
function library.notNetwork(list)
  for _, network in ipairs(list) do
    if C.sync_fetch_forbids(texts {network}, 1, "127.0.0.1") < 0 then return network end
  end
end

--- Whether an address is one of networks: see sync_fetch_forbids.
function library.forbids(list, address)
  return C.sync_fetch_forbids(texts(list), #list, address) == 1
end

--- Begins a transfer: see struct sync_fetch_options.
-- @tparam table fields those of the struct, of which `headers` and `forbidden` are lists of texts
-- @treturn cdata|nil a `struct sync_fetch`, or nil when memory ran out
function library.start(fields)
  local options = ffi.new "struct sync_fetch_options"
  for name, value in pairs(fields) do
    if type(value) ~= "table" then options[name] = value end
  end
  local headers, forbidden = texts(fields.headers), texts(fields.forbidden)
  options.headers, options.header_count = headers, #fields.headers
  options.forbidden, options.forbidden_count = forbidden, #fields.forbidden
  options.body_length = fields.body and #fields.body or 0
  local fetch = C.sync_fetch_start(handle, options)
  if fetch ~= nil then return fetch end
end

function library.head(fetch) return toString(fetch.head, fetch.head_length) end

--- What has come of the body since it was last taken.
function library.body(fetch)
  return fetch.body_length > 0 and toString(fetch.body, fetch.body_length) or ""
end

function library.text(fetch) return toString(fetch.text) end

function library.take(fetch) C.sync_fetch_take(fetch) end

--- @treturn boolean whether it must be ended again: see sync_fetch_end
function library.finish(fetch) return C.sync_fetch_end(fetch) ~= 0 end

return library
