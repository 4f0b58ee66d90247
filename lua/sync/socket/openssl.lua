--- TLS on a descriptor, by the system's OpenSSL, 1.1 or later. Beside lua/sync/core.lua this file
-- knows the FFI. The library is opened at the first handshake.
-- @module sync.socket.openssl

local ffi = require "ffi"

ffi.cdef [[
typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
const void *TLS_client_method(void);
SSL_CTX *SSL_CTX_new(const void *method);
void SSL_CTX_free(SSL_CTX *context);
long SSL_CTX_ctrl(SSL_CTX *context, int command, long number, void *pointer);
int SSL_CTX_set_default_verify_paths(SSL_CTX *context);
int SSL_CTX_load_verify_locations(SSL_CTX *context, const char *file, const char *folder);
int SSL_CTX_use_certificate_chain_file(SSL_CTX *context, const char *file);
int SSL_CTX_use_PrivateKey_file(SSL_CTX *context, const char *file, int type);
void SSL_CTX_set_verify(SSL_CTX *context, int mode, void *callback);
SSL *SSL_new(SSL_CTX *context);
void SSL_free(SSL *ssl);
int SSL_set_fd(SSL *ssl, int fd);
long SSL_ctrl(SSL *ssl, int command, long number, void *pointer);
int SSL_set1_host(SSL *ssl, const char *host);
void *SSL_get0_param(SSL *ssl);
int X509_VERIFY_PARAM_set1_ip_asc(void *parameters, const char *address);
int SSL_connect(SSL *ssl);
int SSL_read(SSL *ssl, void *bytes, int length);
int SSL_write(SSL *ssl, const void *bytes, int length);
int SSL_pending(const SSL *ssl);
int SSL_shutdown(SSL *ssl);
int SSL_get_error(const SSL *ssl, int result);
long SSL_get_verify_result(const SSL *ssl);
const char *SSL_get_version(const SSL *ssl);
const char *X509_verify_cert_error_string(long number);
unsigned long ERR_get_error(void);
void ERR_clear_error(void);
void ERR_error_string_n(unsigned long number, char *text, size_t length);
]]

local MINIMUM, MODE, NAME = 123, 33, 55 -- of SSL_CTX_ctrl and SSL_ctrl
local PARTIAL_WRITES, MOVING_BUFFER = 1, 2
local TLS_1_2, TLS_1_3 = 0x0303, 0x0304
local PEM = 1
local VERIFY_PEER = 1
local WANT_READ, WANT_WRITE, SYSTEM_CALL, CLOSED = 2, 3, 5, 6
local BLOCK = 16384

local openssl = {}

local ssl, crypto

local function load()
  if ssl then return true end
  for _, version in ipairs {".so.3", ".so.1.1", ".so"} do
    local ok, found = pcall(ffi.load, "libssl" .. version)
    local also, below = pcall(ffi.load, "libcrypto" .. version)
    if ok and also then
      ssl, crypto = found, below
      return true
    end
  end
  return nil, "TLS needs the library libssl, which is not there: apt-get install libssl3"
end

local text, buffer = ffi.new "char[256]", ffi.new("char[?]", BLOCK)

local function lastError()
  local number = crypto.ERR_get_error()
  if number == 0 then return "closed" end
  crypto.ERR_clear_error()
  crypto.ERR_error_string_n(number, text, 256)
  return (ffi.string(text):gsub("^error:%x+:", ""):gsub("^[^:]*:[^:]*:", ""))
end

-- What is wanted before a call is made again; or what went wrong.
local function problem(self, result)
  local why = ssl.SSL_get_error(self.ssl, result)
  if why == WANT_READ then return "again" end
  if why == WANT_WRITE then return "again write" end
  if why == CLOSED or why == SYSTEM_CALL then
    crypto.ERR_clear_error()
    return "closed"
  end
  return lastError()
end

local Session = {}
Session.__index = Session

local function contextOf(options)
  local context = ffi.gc(ssl.SSL_CTX_new(ssl.TLS_client_method()), ssl.SSL_CTX_free)
  ssl.SSL_CTX_ctrl(context, MINIMUM, options.minimum == "1.3" and TLS_1_3 or TLS_1_2, nil)
  ssl.SSL_CTX_ctrl(context, MODE, PARTIAL_WRITES + MOVING_BUFFER, nil)
  ssl.SSL_CTX_set_verify(context, options.verify and VERIFY_PEER or 0, nil)
  local done
  if options.cafile or options.capath then
    done = ssl.SSL_CTX_load_verify_locations(context, options.cafile, options.capath)
  else
    done = ssl.SSL_CTX_set_default_verify_paths(context)
  end
  if done == 1 and options.certificate then
    done = ssl.SSL_CTX_use_certificate_chain_file(context, options.certificate)
  end
  if done == 1 and options.key then
    done = ssl.SSL_CTX_use_PrivateKey_file(context, options.key, PEM)
  end
  if done ~= 1 then return nil, lastError() end
  return context
end

--- Begins TLS on a connected descriptor.
-- @tparam number fd
-- @tparam table options `verify` (whether the certificate is checked), `host` (whose it must be),
-- and files: `cafile`, `capath`, `certificate`, `key`; `minimum` "1.2" or "1.3"
-- @treturn Session|nil or nil and a message
function openssl.open(fd, options)
  local loaded, message = load()
  if not loaded then return nil, message end
  crypto.ERR_clear_error()
  local context
  context, message = contextOf(options)
  if not context then return nil, message end
  local self = setmetatable({context = context, verify = options.verify,
    ssl = ffi.gc(ssl.SSL_new(context), ssl.SSL_free)}, Session)
  if ssl.SSL_set_fd(self.ssl, fd) ~= 1 then return nil, lastError() end
  local host = options.host
  local isAddress = host and (host:find(":", 1, true) or host:find "^[%d.]+$")
  if host and not isAddress then
    ssl.SSL_ctrl(self.ssl, NAME, 0, ffi.cast("char *", host))
  end
  if host and options.verify then
    local set = isAddress and
      crypto.X509_VERIFY_PARAM_set1_ip_asc(ssl.SSL_get0_param(self.ssl), host) or
      not isAddress and ssl.SSL_set1_host(self.ssl, host)
    if set ~= 1 then return nil, "the host's name can't be checked" end
  end
  return self
end

--- Goes on with the handshake.
-- @treturn boolean|nil true when it is done; nil and "again", "again write" or a message
function Session:handshake()
  crypto.ERR_clear_error()
  local result = ssl.SSL_connect(self.ssl)
  if result == 1 then return true end
  local why = problem(self, result)
  local verified = self.verify and ssl.SSL_get_verify_result(self.ssl) or 0
  if not why:find "^again" and verified ~= 0 then
    why = "certificate verify failed: " ..
      ffi.string(crypto.X509_verify_cert_error_string(verified))
  end
  return nil, why
end

--- As libc.read and libc.write.
function Session:read(most)
  crypto.ERR_clear_error()
  local got = ssl.SSL_read(self.ssl, buffer, math.min(most, BLOCK))
  if got > 0 then return ffi.string(buffer, got) end
  return nil, problem(self, got)
end

function Session:write(bytes, from, length)
  crypto.ERR_clear_error()
  local sent = ssl.SSL_write(self.ssl, ffi.cast("const char *", bytes) + from,
    math.min(length, BLOCK))
  if sent > 0 then return sent end
  return nil, problem(self, sent)
end

--- Whether bytes were decrypted that nobody has read: the descriptor doesn't tell.
function Session:isPending() return ssl.SSL_pending(self.ssl) > 0 end

--- "TLSv1.3"
function Session:version() return ffi.string(ssl.SSL_get_version(self.ssl)) end

--- Says that this side has ended, as far as that goes without waiting.
function Session:close()
  crypto.ERR_clear_error()
  ssl.SSL_shutdown(self.ssl)
  crypto.ERR_clear_error()
  ssl.SSL_free(ffi.gc(self.ssl, nil))
  self.ssl = nil
end

return openssl
