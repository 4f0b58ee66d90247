-- Programs that a spec starts: each with its own process, its output in files, so that
-- neither side ever waits for the other. All end with the spec that started them, and with
-- the run itself.

local bit = require "bit"
local ffi = require "ffi"
local socket = require "socket"

ffi.cdef [[
  int fork(void);
  int execvp(const char *file, char *const argv[]);
  int waitpid(int pid, int *status, int options);
  int kill(int pid, int number);
  int pipe2(int fds[2], int flags);
  int dup2(int from, int to);
  int open(const char *path, int flags, ...);
  int close(int fd);
  int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d);
  long write(int fd, const void *bytes, size_t size);
  void _exit(int code);
  unsigned geteuid(void);
]]

local C = ffi.C
local NO_HANG, CLOSE_ON_EXEC, PARENT_DEATH = 1, 0x80000, 1
local WRITE_CREATE = 0x241 -- O_WRONLY, O_CREAT, O_TRUNC
local FILES = 2048         -- no spec has more open

local Process = {
  --- Seconds until something that does not come is taken to be missing. Far more than
  -- anything takes, also under sanitizers on a busy machine.
  BOUND = 30,
  SIGNALS = {HUP = 1, INT = 2, KILL = 9, USR1 = 10, USR2 = 12, PIPE = 13, TERM = 15, STOP = 19,
    CONT = 18},
}
Process.__index = Process

local running, files = {}, {}
local given = {} -- ports

--- The name of a file that is removed when the spec ends, holding `text` if there is one.
function Process.file(text, suffix)
  local path = os.tmpname()
  files[#files + 1] = path
  if suffix then
    path = path .. suffix
    files[#files + 1] = path
  end
  if text then
    local file = assert(io.open(path, "w"))
    file:write(text)
    file:close()
  else
    os.remove(path)
  end
  return path
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("*a")
  file:close()
  return text
end

local function toArgv(arguments)
  local argv = ffi.new("const char *[?]", #arguments + 1)
  for i, argument in ipairs(arguments) do
    arguments[i] = tostring(argument)
    argv[i - 1] = arguments[i]
  end
  return ffi.cast("char *const *", argv), argv
end

-- In the child. What the spec has open must not stay open in what it starts.
local function execute(argv, input, out, err)
  C.prctl(PARENT_DEATH, 9, 0, 0, 0)
  C.dup2(input, 0)
  C.dup2(C.open(out, WRITE_CREATE, ffi.cast("int", 384)), 1)
  C.dup2(C.open(err, WRITE_CREATE, ffi.cast("int", 384)), 2)
  for fd = 3, FILES do C.close(fd) end
  C.execvp(argv[0], argv)
end

--- Starts a program.
-- @tparam table arguments its name and its arguments
function Process.start(arguments)
  local fds = ffi.new("int[2]")
  assert(C.pipe2(fds, CLOSE_ON_EXEC) == 0)
  local out, err = Process.file(), Process.file()
  local argv, anchor = toArgv(arguments)
  local pid = C.fork()
  assert(pid >= 0, "fork failed")
  if pid == 0 then
    pcall(execute, argv, fds[0], out, err)
    C._exit(127)
  end
  C.close(fds[0])
  local process = setmetatable({
    pid = pid, input = fds[1], out = out, err = err, anchor = anchor,
    name = table.concat(arguments, " "),
  }, Process)
  running[process] = true
  return process
end

--- What it has printed, and what it has printed to standard error.
function Process:stdout() return read(self.out) end
function Process:stderr() return read(self.err) end

--- Writes to its standard input.
function Process:write(text)
  assert(C.write(self.input, text, #text) == #text, "write failed")
end

function Process:closeInput()
  if self.input then C.close(self.input) end
  self.input = nil
end

function Process:kill(name)
  if not self.ended then C.kill(self.pid, Process.SIGNALS[name]) end
end

--- Whether it still runs. Afterwards `code` is what it exited with, or `signal` what
-- ended it.
function Process:isRunning()
  if self.ended then return false end
  local status = ffi.new("int[1]")
  if C.waitpid(self.pid, status, NO_HANG) ~= self.pid then return true end
  self.ended = true
  running[self] = nil
  self:closeInput()
  local signal = bit.band(status[0], 0x7f)
  if signal == 0 then
    self.code = bit.band(bit.rshift(status[0], 8), 0xff)
  else
    self.signal = signal
  end
  return false
end

--- A port for a server that is started again where it was. It lies below those that the
-- system gives to outgoing connections: one of these may have the port meanwhile, or, when
-- nobody listens, even connect to itself. None is given twice: the one who got it may not have
-- it open yet.
function Process.freePort()
  for _ = 1, 1000 do
    local port = math.floor(20000 + 12000 * (socket.gettime() % 1 * 7919 % 1))
    local listener = not given[port] and socket.bind("127.0.0.1", port)
    if listener then
      listener:close()
      given[port] = true
      return port
    end
  end
  error("there is no free port", 2)
end

--- Waits for `test()` to be true and returns what it returns.
function Process.eventually(what, test, seconds)
  local last = socket.gettime() + (seconds or Process.BOUND)
  repeat
    local result = test()
    if result then return result end
    socket.sleep(0.002)
  until socket.gettime() > last
  error("it never happened: " .. (type(what) == "function" and what() or what), 2)
end

local function last(text)
  return #text > 2000 and "..." .. text:sub(-2000) or text
end

--- Waits until it has ended and returns its exit code, or nil and a signal.
function Process:wait(seconds)
  Process.eventually(function()
    return ("%s ends\n%s%s"):format(self.name, last(self:stdout()), last(self:stderr()))
  end, function() return not self:isRunning() end, seconds)
  return self.code, self.signal
end

--- Waits for a pattern in what it prints to "stdout" or "stderr" and returns the captures.
function Process:expect(stream, pattern, seconds)
  local found
  Process.eventually(function()
    return ("%s prints %q\n%s%s"):format(self.name, pattern, last(self:stdout()),
      last(self:stderr()))
  end, function()
    found = {self[stream](self):match(pattern)}
    return found[1] or not self:isRunning() and error(("%s ended (%s) and has not printed " ..
      "%q\n%s%s"):format(self.name, self.code or "signal " .. self.signal, pattern,
      last(self:stdout()), last(self:stderr())), 0)
  end, seconds)
  return unpack(found)
end

--- Kibibytes of memory that it has in use.
function Process:memory()
  return tonumber(read("/proc/" .. self.pid .. "/status"):match("VmRSS:%s*(%d+)"))
end

--- Ends all that still run and removes all files. For after_each.
function Process.cleanUp()
  for process in pairs(running) do
    process:kill("KILL")
    process:closeInput()
    C.waitpid(process.pid, nil, 0)
    process.ended = true
  end
  for _, path in ipairs(files) do os.remove(path) end
  running, files = {}, {}
end

function Process.isRoot()
  return C.geteuid() == 0
end

return Process
