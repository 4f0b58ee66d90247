-- Two sockets of this process that are connected to each other.

local ffi = require "ffi"

ffi.cdef "int socketpair(int domain, int type, int protocol, int sockets[2]);"

local UNIX, STREAM = 1, 1

--- Makes them.
-- @treturn number
-- @treturn number
return function()
  local pair = ffi.new "int[2]"
  assert(ffi.C.socketpair(UNIX, STREAM, 0, pair) == 0, "no socketpair")
  return pair[0], pair[1]
end
