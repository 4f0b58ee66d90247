--- The library of NATS' own: libnats, behind src/nats/natslink.h.
--
-- It is loaded when it is first needed. Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.cluster.nats.library

local ffi = require "ffi"

local MOST_MESSAGE = 256 -- bytes of what is wrong, with the 0 at its end

local natslibrary = {}

local library, message

--- Loads it, if that has not been done.
-- @treturn boolean|nil true, or nil and a message
function natslibrary.load()
  if library then return true end
  local path, tried = package.searchpath("sync.natslink", package.cpath)
  if not path then
    return nil, "sync/natslink.so is not on package.cpath: install libnats-dev, then build " ..
      "and install SYNC anew" .. tried
  end
  local ok, loaded = pcall(ffi.load, path)
  if not ok then
    return nil, ("%s (libnats is missing? On Debian: apt-get install libnats3.4)"):format(loaded)
  end
  ffi.cdef(require "sync.cluster.nats.cdef")
  library = loaded
  message = ffi.new("char[?]", MOST_MESSAGE)
  return true
end

--- Opens a link; see `natslink_open`.
-- @tparam table given fields of `struct natslink_options`
-- @treturn number|nil a socket, or nil and a message
function natslibrary.open(given)
  local fd = library.natslink_open(ffi.new("struct natslink_options", given), message,
    MOST_MESSAGE)
  if fd < 0 then return nil, ffi.string(message) end
  return fd
end

--- What a text in base64 stands for; "" if it is none.
function natslibrary.decode(text)
  local bytes = ffi.new("char[?]", #text / 4 * 3 + 1)
  local length = library.natslink_decode(text, #text, bytes)
  return length >= 0 and ffi.string(bytes, length) or ""
end

return natslibrary
