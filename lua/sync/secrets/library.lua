--- What src/secrets does, with Lua's strings. Beside lua/sync/core.lua this file knows the FFI.
-- @module sync.secrets.library

local bit = require "bit"
local core = require "sync.core"
local ffi = require "ffi"
local jobs = require "sync.jobs"

ffi.cdef(require "sync.secrets.cdef")

local C, handle, toString = core.C, core.handle, core.string

local MESSAGE = 256

local library = {}

local message = ffi.new("char[?]", MESSAGE)
local out = ffi.new("char[?]", C.SYNC_SIGNATURE_MOST)

-- Digests, base64 and randomness.

--- The digest of bytes, nil when OpenSSL has no such algorithm.
function library.digest(algorithm, bytes)
  local length = C.sync_digest(algorithm, bytes, #bytes, out)
  return length > 0 and toString(out, length) or nil
end

--- The HMAC of bytes, nil when OpenSSL has no such algorithm.
function library.hmac(algorithm, key, bytes)
  local length = C.sync_hmac(algorithm, key, #key, bytes, #bytes, out)
  return length > 0 and toString(out, length) or nil
end

function library.equal(a, b)
  return #a == #b and C.sync_equal(a, b, #a) ~= 0
end

function library.encode(bytes)
  local text = ffi.new("char[?]", math.floor((#bytes + 2) / 3) * 4 + 1)
  return toString(text, C.sync_base64(bytes, #bytes, text))
end

--- What a text in base64 stands for, nil when it is none.
function library.decode(text)
  local bytes = ffi.new("char[?]", math.floor(#text / 4) * 3 + 1)
  local length = C.sync_base64_decode(text, #text, bytes)
  return length >= 0 and toString(bytes, length) or nil
end

function library.random(count)
  local bytes = ffi.new("char[?]", count)
  if C.sync_random(bytes, count) < 0 then
    error("sync: the system has no randomness to give", 0)
  end
  return toString(bytes, count)
end

-- Keys.

local KINDS = {
  [tonumber(C.SYNC_KEY_RSA)] = "RS256",
  [tonumber(C.SYNC_KEY_P256)] = "ES256",
  [tonumber(C.SYNC_KEY_ED25519)] = "EdDSA",
}

--- Reads a key in PEM.
-- @treturn cdata|nil or nil and a message, which has nothing of the key
-- @treturn string the algorithm that it is for
function library.key(pem, isPrivate)
  local key = C.sync_key_read(pem, #pem, isPrivate and 1 or 0, message, MESSAGE)
  if key == nil then return nil, toString(message) end
  return ffi.gc(key, C.sync_key_free), KINDS[tonumber(C.sync_key_kind(key))]
end

function library.sign(key, bytes)
  local length = C.sync_key_sign(key, bytes, #bytes, out)
  return length > 0 and toString(out, length) or nil
end

function library.verify(key, bytes, signature)
  return C.sync_key_verify(key, bytes, #bytes, signature, #signature) ~= 0
end

-- Passwords.

local crew

--- Begins to hash passwords, once: on so many threads, with so many that wait.
function library.openPasswords(threads, queue)
  if crew then return end
  crew = C.sync_password_open(handle, threads, queue)
  if crew == nil then error("sync.password: not enough memory", 0) end
end

local SCHEMES = {argon2 = C.SYNC_PASSWORD_ARGON2, crypt = C.SYNC_PASSWORD_CRYPT}

--- Opens the library that a scheme needs.
-- @treturn boolean|nil true, or nil and which package is missing
function library.load(scheme)
  if C.sync_password_load(SCHEMES[scheme], message, MESSAGE) == 0 then return true end
  return nil, toString(message)
end

-- A job of a password, and the function that gets what it says.
local Work = {}
Work.__index = Work

function Work:jobEnded(value, data, length)
  self.done(bit.tobit(value), length > 0 and toString(data, length) or nil)
end

local function ended(done) return setmetatable({done = done}, Work) end

--- These begin a job whose `done` gets its value and text: see sync_password_hash and so on.
-- @treturn number|nil its id, or nil and a message
function library.hash(password, cost, done)
  return jobs.begin(C.sync_password_hash(crew, password, #password, cost.memory, cost.passes,
    cost.lanes), ended(done))
end

function library.compare(scheme, password, hash, done)
  return jobs.begin(C.sync_password_verify(crew, SCHEMES[scheme], password, #password, hash),
    ended(done))
end

function library.comparePbkdf2(password, digest, iterations, salt, hash, done)
  return jobs.begin(C.sync_password_pbkdf2(crew, password, #password, digest, iterations, salt,
    #salt, hash, #hash), ended(done))
end

return library
