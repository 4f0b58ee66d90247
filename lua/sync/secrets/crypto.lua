--- Digests, HMAC, base64 and randomness, by the OpenSSL that is linked in: `sync.crypto`.
--
--     local sync = require "sync"
--     local token = sync.crypto.random(32, "base64url")
--     local right = sync.crypto.equal(sync.crypto.hmac("sha256", key, body), signature)
--
-- What these make is text in hexadecimal, unless another form is asked for: "hex", "base64",
-- "base64url" (without padding) or "bytes". All answer at once; a megabyte takes about 2 ms.
-- @module sync.crypto

local library = require "sync.secrets.library"

local MOST_RANDOM = 64 * 1024

local crypto = {}

local ALGORITHMS = {md5 = true, sha1 = true, sha224 = true, sha256 = true, sha384 = true,
  sha512 = true}

local HEX = {}
for byte = 0, 255 do HEX[string.char(byte)] = ("%02x"):format(byte) end

local function toBase64url(bytes)
  return (library.encode(bytes):gsub("[+/=]", {["+"] = "-", ["/"] = "_", ["="] = ""}))
end

local FORMS = {
  hex = function(bytes) return (bytes:gsub(".", HEX)) end,
  base64 = library.encode,
  base64url = toBase64url,
  bytes = function(bytes) return bytes end,
}

local function formed(bytes, form, call)
  local write = FORMS[form or "hex"]
  if not write then
    error(("%s: the form %q is none of \"hex\", \"base64\", \"base64url\", \"bytes\"")
      :format(call, tostring(form)), 3)
  end
  return write(bytes)
end

local function wantString(value, call, what)
  if type(value) ~= "string" then
    error(("%s: %s must be a string, not %s"):format(call, what, type(value)), 3)
  end
end

local function wantAlgorithm(algorithm, call)
  if not ALGORITHMS[algorithm] then
    error(("%s: the algorithm %q is none of md5, sha1, sha224, sha256, sha384, sha512")
      :format(call, tostring(algorithm)), 3)
  end
end

--- Bytes that nobody can guess.
-- @tparam number count at most 65,536
-- @tparam[opt] string form
function crypto.random(count, form)
  if type(count) ~= "number" or count < 1 or count > MOST_RANDOM or count % 1 ~= 0 then
    error("sync.crypto.random(count, form): count must be a whole number from 1 to 65536", 2)
  end
  return formed(library.random(count), form, "sync.crypto.random")
end

--- The digest of bytes: sync.crypto.md5, sha1, sha224, sha256, sha384 and sha512.
-- @function sha256
-- @tparam string bytes
-- @tparam[opt] string form
for algorithm in pairs(ALGORITHMS) do
  local call = "sync.crypto." .. algorithm
  crypto[algorithm] = function(bytes, form)
    wantString(bytes, call, "what is digested")
    return formed(library.digest(algorithm, bytes), form, call)
  end
end

--- The keyed digest of bytes (RFC 2104).
-- @tparam string algorithm "sha256", …
-- @tparam string key
-- @tparam string bytes
-- @tparam[opt] string form
function crypto.hmac(algorithm, key, bytes, form)
  wantAlgorithm(algorithm, "sync.crypto.hmac")
  wantString(key, "sync.crypto.hmac", "the key")
  wantString(bytes, "sync.crypto.hmac", "what is digested")
  return formed(library.hmac(algorithm, key, bytes), form, "sync.crypto.hmac")
end

--- Whether two strings are equal, in a time that tells nobody where they differ. Only their
-- lengths can be learned.
function crypto.equal(a, b)
  wantString(a, "sync.crypto.equal", "each")
  wantString(b, "sync.crypto.equal", "each")
  return library.equal(a, b)
end

--- Base64 (RFC 4648).
function crypto.base64(bytes)
  wantString(bytes, "sync.crypto.base64", "what is written")
  return library.encode(bytes)
end

--- Base64 for URLs and file names, without padding.
function crypto.base64url(bytes)
  wantString(bytes, "sync.crypto.base64url", "what is written")
  return toBase64url(bytes)
end

--- What a text in base64 stands for, of either alphabet, padded or not.
-- @treturn string|nil nil and a message when it is none
function crypto.fromBase64(text)
  wantString(text, "sync.crypto.fromBase64", "the text")
  local body = text:gsub("=+$", "")
  if #text - #body > 2 or #body % 4 == 1 or body:find("[^%w+/_-]") then
    return nil, "this is no base64"
  end
  body = body:gsub("[-_]", {["-"] = "+", ["_"] = "/"})
  return library.decode(body .. ("="):rep(-#body % 4))
end

return crypto
