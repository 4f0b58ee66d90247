--- The C core as Lua sees it.
--
-- The FFI is known here, for the core; in one file for each library of others', such as
-- `sync.redis.hiredis`, and for the system's sockets (`sync.socket.libc`); and in
-- `sync.cluster.frame` and `sync.flash.cursor`, which take numbers out of bytes.
--
-- Inside sync-lua the functions of sync.h are part of the program. Elsewhere they come
-- from the shared library that the rock and `make install` put beside the C modules.
-- @module sync.core

local ffi = require "ffi"

ffi.cdef(require "sync.cdef")

local function load()
  if pcall(function() return ffi.C.sync_open end) then return ffi.C end
  local path, tried = package.searchpath("sync.libsync", package.cpath)
  if not path then
    error("sync: the C core sync/libsync.so is not on package.cpath; " ..
      "run `make install` or `luarocks install sync`, or use sync-lua" .. tried, 0)
  end
  return ffi.load(path)
end

local C = load()

-- SYNC_IO names the way to the kernel; sync-lua --io sets it.
local way = os.getenv "SYNC_IO"
local refused = way and way ~= "" and C.sync_choose_io(way) or 0
if refused < 0 then
  local unknown = ffi.string(C.sync_error_name(refused)) == "EINVAL"
  error(("sync: SYNC_IO=%s: %s; SYNC_IO=auto takes what works"):format(way,
    unknown and "this sync-lua has no such way to the kernel" or ffi.string(C.sync_io_why())), 0)
end

-- SYNC_IO_THREADS is how many threads uring has; sync-lua --io-threads sets it.
local threads = os.getenv "SYNC_IO_THREADS"
if threads and threads ~= "" then
  local count = tonumber(threads)
  if not count or count < 0 or count > C.SYNC_IO_THREADS_MOST or count % 1 ~= 0 then
    error(("sync: SYNC_IO_THREADS=%s: it is a number from 0 to %d"):format(threads,
      C.SYNC_IO_THREADS_MOST), 0)
  elseif C.sync_choose_io_threads(count) < 0 then
    error(("sync: SYNC_IO_THREADS=%s: %s"):format(threads, ffi.string(C.sync_io_why())), 0)
  end
end

local handle = C.sync_open()
if handle == nil then error("sync: not enough memory or files to start", 0) end

local core = {
  C = C,
  --- The one core of this process.
  handle = handle,
  --- Whether that was closed: at the program's end finalizers run in any order, and those that
  -- would call the core look here.
  isClosed = false,
  --- string(pointer, length): the bytes as a Lua string.
  string = ffi.string,
}

-- Not the handle itself has the finalizer: without one, it is a constant in compiled code.
core.owner = ffi.gc(ffi.cast("void *", handle), function()
  core.isClosed = true
  C.sync_close(handle)
end)

local text = ffi.new "char[1024]"

--- An array of `size` slots (unsigned 32-bit, counted from 0), all 0.
function core.slots(size)
  return ffi.new("uint32_t[?]", size)
end

--- Copies `count` slots.
function core.copySlots(to, from, count)
  ffi.copy(to, from, count * 4)
end

--- A client's IP address ("" on a Unix socket) and port.
function core.peer(slot)
  local port = C.sync_peer(handle, slot, text, 64)
  return ffi.string(text), port
end

--- A network, or an address, in the one form that all its spellings have; nil for what is none.
function core.network(name)
  return C.sync_network_name(name, text, 64) == 0 and ffi.string(text) or nil
end

--- The addresses a listener is bound to, as text.
function core.addresses(listener)
  return ffi.string(text, C.sync_listener_addresses(handle, listener, text, 1024))
end

--- Starts the watchdog, from a table of the fields of `struct sync_watchdog`.
-- @treturn number 0 or an error code
-- @treturn string what lacks, or ""
function core.startWatchdog(fields)
  local options = ffi.new("struct sync_watchdog", fields)
  return C.sync_watchdog_start(handle, options, text, 1024), ffi.string(text)
end

--- Whose handler made the longest tick.
function core.longestHandler()
  return ffi.string(text, C.sync_longest_handler(handle, text, 1024))
end

--- A `struct sync_options` from a table of its fields.
function core.options(fields)
  return ffi.new("struct sync_options", fields)
end

--- Gives a listener certificates: a list of {certificate, key}, files.
-- @treturn boolean whether it was done
-- @treturn string what is wrong, or "", or a warning
function core.certificates(listener, list, minimum)
  local files = ffi.new("const char *[?]", 2 * #list)
  for i, pair in ipairs(list) do
    files[2 * i - 2], files[2 * i - 1] = pair.certificate, pair.key
  end
  local done = C.sync_listener_tls(handle, listener, files, #list, minimum, text, 1024) == 0
  return done, ffi.string(text)
end

--- Makes the connections of a listener's sync_connect speak TLS: see sync_listener_trust.
-- @treturn boolean whether it was done
-- @treturn string what is wrong, or "", or a warning
function core.trust(listener, host, files)
  local list = ffi.new "const char *[3]"
  list[0], list[1], list[2] = files.ca, files.certificate, files.key
  local done = C.sync_listener_trust(handle, listener, host, list, text, 1024) == 0
  return done, ffi.string(text)
end

--- The file that a SYNC_FILE event has found.
-- @treturn table `path`, `size` in bytes, `mtime` in seconds since 1970, `mtimeNs`, and
-- `slashMissing`: whether the file is the index of a folder whose path had no slash at its end
function core.file(event)
  local file = ffi.cast("const struct sync_file *", event.data)
  return {path = ffi.string(file.name), size = file.size, mtime = file.mtime,
    mtimeNs = file.mtime_ns, slashMissing = file.slash_missing ~= 0}
end

--- A `struct sync_websocket` from a table of its fields.
function core.websocket(fields)
  return ffi.new("struct sync_websocket", fields)
end

--- The Sec-WebSocket-Accept for a key.
function core.websocketAccept(key)
  C.sync_websocket_accept(key, #key, text)
  return ffi.string(text)
end

--- Whether a string is valid UTF-8.
function core.isText(bytes)
  return C.sync_is_text(bytes, #bytes) ~= 0
end

--- The kinds of messages, by what users call them.
core.kinds = {text = tonumber(C.SYNC_KIND_TEXT), binary = tonumber(C.SYNC_KIND_BINARY)}

--- The number of a kind that `send(data, kind)` was given; 0: none, which is the client's own.
-- @param kind
-- @tparam[opt] string call another call than that one
function core.kind(kind, call)
  if kind == nil then return 0 end
  local number = core.kinds[kind]
  if number then return number end
  error(('%s: kind must be "text" or "binary", not %s'):format(call or "send(data, kind)",
    type(kind) == "string" and ("%q"):format(kind) or type(kind)), 3)
end

-- Apart from its caller, of which each call is compiled.
local function badBytes(object, bytes, length)
  if type(object) ~= "table" then
    error("sendBytes(bytes, length): it was called with a dot; a method needs a colon: " ..
      "client:sendBytes(…)", 4)
  elseif type(bytes) ~= "cdata" then
    error("sendBytes(bytes, length): bytes must be a pointer or an array of the FFI, not " ..
      type(bytes) .. (type(bytes) == "string" and "; send(data) takes strings" or ""), 4)
  end
  error("sendBytes(bytes, length): length must be a number from 0 on, not " ..
    (type(length) == "number" and tostring(length) or type(length)) ..
    (bytes == nil and ", and 0 for a null pointer" or ""), 4)
end

--- Checks what `sendBytes(bytes, length)` was given: how many bytes are there, only its caller
-- knows.
function core.checkBytes(object, bytes, length)
  if type(object) ~= "table" or type(bytes) ~= "cdata" or type(length) ~= "number" or
    length ~= length or length < 0 or bytes == nil and length > 0 then
    badBytes(object, bytes, length)
  end
end

--- A reader and writer of JSON: see sync_json_read and sync_json_begin.
function core.json()
  local json = C.sync_json_new()
  if json == nil then error("sync: not enough memory for JSON", 0) end
  return ffi.gc(json, C.sync_json_free)
end

--- So many random bytes, in hexadecimal, that nobody can guess.
function core.randomHex(count)
  if count > 512 or C.sync_random(text, count) < 0 then
    error("sync: the system has no randomness to give", 0)
  end
  return (ffi.string(text, count):gsub(".", function(byte)
    return ("%02x"):format(byte:byte())
  end))
end

--- A whole number from 0 to `below` - 1, that nobody can guess; `below` is at most 2^32.
function core.randomNumber(below)
  return tonumber(core.randomHex(4), 16) % below
end

--- The bytes of a string behind the first `offset`, for C.
function core.behind(bytes, offset)
  return ffi.cast("const char *", bytes) + offset
end

-- A command line for C, which keeps no more of the words than that they live.
local function commandLine(words)
  local list = ffi.new("const char *[?]", #words + 1)
  for i, word in ipairs(words) do list[i - 1] = word end
  list[#words] = nil
  return list
end

--- The command line that started this program, its first word the program's name.
-- @treturn table
function core.commandLine()
  local words, first = {}, 0
  while arg[first - 1] do first = first - 1 end
  for i = first, #arg do words[#words + 1] = arg[i] end
  return words
end

--- Starts a worker: see sync_spawn. `words` is its command line.
-- @treturn number its process id, or an error code
-- @treturn number the file descriptor of the connection to it
function core.spawn(words, number, count)
  local bus = ffi.new "int32_t[1]"
  return C.sync_spawn(handle, commandLine(words), number, count, bus), bus[0]
end

--- Starts a process that is to take a worker's place, "1", or only tries, "trial": see
-- sync_spawn_next.
-- @treturn number its process id, or an error code
-- @treturn number the file descriptor of the socket to it
function core.spawnNext(words, number, count, takes)
  local fd = ffi.new "int32_t[1]"
  return C.sync_spawn_next(handle, commandLine(words), number, count, takes, fd), fd[0]
end

local structs = 0 -- that Lua has made

-- A struct, by a text that no other has: busted, for one, has ffi.typeof return what it has
-- returned for the same.
local function struct(body, names, behaviour)
  structs = structs + 1
  local declaration = ("struct { %s } /* %d */"):format(body, structs)
  return ffi.metatype(ffi.typeof(declaration, unpack(names)), behaviour)
end

--- A C struct with a double or a bool for each of these names, in order.
-- @tparam table fields a list of `{name, "double" or "bool"}`
-- @tparam table behaviour the metatable: for what is no field
-- @treturn cdata the type: called, it makes one
-- @treturn function offset(name), in bytes
function core.record(fields, behaviour)
  local parts, names = {}, {}
  for i, field in ipairs(fields) do parts[i], names[i] = field[2] .. " $;", field[1] end
  local body = parts[1] and table.concat(parts, " ") or "double sync_none;"
  local made = struct(body, names, behaviour)
  return made, function(name) return ffi.offsetof(made, name) end
end

--- A type of C objects that hold nothing, but can have a length.
function core.object(behaviour)
  return struct("double sync_none;", {}, behaviour)
end

--- Numbers as C has them in memory.
function core.doubles(...)
  local count = select("#", ...)
  return ffi.string(ffi.new("double[?]", count, ...), 8 * count)
end

local double = ffi.new "double[1]"

--- The double at a place of a string. Not compiled: where that was, numbers have been read wrong.
function core.toDouble(bytes, at)
  ffi.copy(double, core.behind(bytes, at - 1), 8)
  return double[0]
end
jit.off(core.toDouble)

function core.float(value)
  return ffi.string(ffi.new("float[1]", value), 4)
end

--- A state of a room: see sync_state_new. It's freed with its last reference.
function core.state(room)
  local state = C.sync_state_new(room)
  if state == nil then error("sync: not enough memory for a room's state", 0) end
  return ffi.gc(state, C.sync_state_free)
end

--- A `struct sync_table` from a table of its fields.
function core.table(fields)
  return ffi.new("struct sync_table", fields)
end

local length = ffi.new "size_t[1]"

--- The patch of a member: see sync_state_write. nil: there's none.
function core.patch(state, member, tick)
  local bytes = C.sync_state_write(state, member, tick, length)
  if bytes ~= nil then return ffi.string(bytes, length[0]) end
end

--- What a patch has made for replicas, or a snapshot: see sync_state_copied. nil: nothing.
function core.copied(state, snapshot)
  local bytes = C.sync_state_copied(state, snapshot, length)
  if bytes ~= nil then return ffi.string(bytes, length[0]) end
end

--- A parcel for the next process: see sync_parcel_new.
function core.parcel()
  local parcel = C.sync_parcel_new()
  if parcel == nil then error("sync: not enough memory for an upgrade", 0) end
  return ffi.gc(parcel, C.sync_parcel_free)
end

--- Frees one before the collector would: it holds the other ends of what it has passed on.
function core.freeParcel(parcel) C.sync_parcel_free(ffi.gc(parcel, nil)) end

--- A `struct sync_item`.
function core.item() return ffi.new "struct sync_item" end

--- Receives a parcel of the other process.
-- @treturn cdata|nil or nil and why
function core.receiveParcel(fd, milliseconds)
  local parcel = ffi.new "struct sync_parcel *[1]"
  local code = C.sync_parcel_receive(parcel, fd, milliseconds)
  if code < 0 then return nil, ffi.string(C.sync_error_text(code)) end
  return ffi.gc(parcel[0], C.sync_parcel_free)
end

--- Two ends of a socket, or an error code: see sync_next_pair.
function core.pair()
  local pair = ffi.new "int32_t[2]"
  local code = C.sync_next_pair(pair)
  if code < 0 then return code end
  return pair[0], pair[1]
end

--- Replaces the program: see sync_exec.
function core.exec(words, fd) return C.sync_exec(commandLine(words), fd) end

--- Starts the next process: see sync_next_start.
-- @treturn number its process id, or an error code
-- @treturn number the file descriptor of the socket to it
function core.startNext(words)
  local fd = ffi.new "int32_t[1]"
  return C.sync_next_start(handle, commandLine(words), fd), fd[0]
end

--- Hears what the other process says.
-- @treturn string|nil or nil and why, whether that's only that nothing came yet, and whether there
-- is nobody any more
function core.hear(fd, milliseconds)
  local code = C.sync_next_hear(fd, text, 1024, milliseconds)
  if code >= 0 then return ffi.string(text) end
  local name = ffi.string(C.sync_error_name(code))
  local isEarly = name == "EAGAIN"
  return nil, isEarly and "it said nothing in time" or ffi.string(C.sync_error_text(code)), isEarly,
    name == "EOF" or name == "ECONNRESET"
end

local begun = C.sync_worker_begin(handle)
if begun < 0 then error("sync: this worker can't reach its parent", 0) end

--- Which worker this process is, and of how many; nil in a process that is no worker.
core.worker = begun > 0 and begun % 65536 or nil
core.workers = begun > 0 and math.floor(begun / 65536) or nil

local visitor = ffi.new "struct sync_visitor"

--- Takes one who has come to a door: see sync_door_accept.
-- @treturn number a descriptor, or an error code
-- @treturn number|nil the user
-- @treturn number|nil the process
function core.visitor(door)
  local fd = C.sync_door_accept(door, visitor)
  return fd, visitor.user, visitor.process
end

--- Where a file or folder really is, without links; nil: nowhere.
function core.realPath(path)
  if C.sync_path_real(path, text, 1024) == 0 then return ffi.string(text) end
end

--- The bytes of a string, which live as long as somebody has that.
function core.bytes(string)
  return ffi.cast("const uint8_t *", string)
end

--- An error code's name and text.
function core.problem(code)
  return ffi.string(C.sync_error_name(code)), ffi.string(C.sync_error_text(code))
end

--- How sockets reach the kernel: "uring", "epoll" or "poll"; and why that one.
function core.io()
  return ffi.string(C.sync_io()), ffi.string(C.sync_io_why())
end

--- How many threads send and receive for this process, beside Lua's.
function core.ioThreads()
  return C.sync_io_threads()
end

function core.uvVersion()
  return ffi.string(C.sync_uv_version())
end

local buffer

--- Takes all that was sent to a client without a socket.
function core.take(slot)
  local queued = C.sync_queued(handle, slot)
  if queued == 0 then return "" end
  buffer = ffi.new("char[?]", queued)
  return ffi.string(buffer, C.sync_memory_take(handle, slot, buffer, queued))
end

return core
