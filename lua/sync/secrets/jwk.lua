--- Public keys as JSON has them (RFC 7517, 7518, 8037): RSA, P-256 and Ed25519.
--
-- Each is put together as DER, and read by OpenSSL, which knows a point that is none. What isn't
-- for signatures, or says that it's for another algorithm than its kind, is no key here.
-- @module sync.secrets.jwk

local crypto = require "sync.secrets.crypto"
local library = require "sync.secrets.library"

local MOST_MODULUS, MOST_EXPONENT = 1024, 8 -- bytes
local COORDINATE = 32                       -- of both curves

local jwk = {}

local function bytesOf(hex)
  return (hex:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- What stands before a key's numbers: the algorithm by its object identifier.
local RSA = bytesOf "300d06092a864886f70d0101010500"
local P256 = bytesOf "301306072a8648ce3d020106082a8648ce3d030107"
local ED25519 = bytesOf "300506032b6570"

local SEQUENCE, INTEGER, BITS = 0x30, 0x02, 0x03

local function der(tag, bytes)
  local length = #bytes
  local head = length < 128 and string.char(length) or
    length < 256 and string.char(0x81, length) or
    string.char(0x82, math.floor(length / 256), length % 256)
  return string.char(tag) .. head .. bytes
end

local function integer(bytes)
  return der(INTEGER, bytes:byte() >= 128 and "\0" .. bytes or bytes)
end

local function pem(algorithm, key)
  local text = crypto.base64(der(SEQUENCE, algorithm .. der(BITS, "\0" .. key)))
  return "-----BEGIN PUBLIC KEY-----\n" .. text:gsub(("."):rep(64), "%0\n") ..
    "\n-----END PUBLIC KEY-----\n"
end

-- A member as bytes, nil when it is none.
local function member(key, name)
  local text = key[name]
  if type(text) ~= "string" or text == "" or text:find "[^%w_-]" then return nil end
  return crypto.fromBase64(text)
end

local function point(key, name)
  local bytes = member(key, name)
  return bytes and #bytes == COORDINATE and bytes or nil
end

local function rsa(key)
  local modulus, exponent = member(key, "n"), member(key, "e")
  modulus, exponent = modulus and modulus:gsub("^%z+", ""), exponent and exponent:gsub("^%z+", "")
  if not modulus or not exponent or modulus == "" or #modulus > MOST_MODULUS or exponent == "" or
    #exponent > MOST_EXPONENT then
    return nil, "its n and e are no modulus of up to 8,192 bits and its exponent"
  end
  -- By an exponent of 1 each signature would be right.
  if exponent == "\1" or exponent:byte(-1) % 2 == 0 then return nil, "its exponent (e) is none" end
  return pem(RSA, der(SEQUENCE, integer(modulus) .. integer(exponent)))
end

local function p256(key)
  if key.crv ~= "P-256" then return nil, "its curve is not P-256" end
  local x, y = point(key, "x"), point(key, "y")
  if not x or not y then return nil, "its x and y are no coordinates of P-256" end
  return pem(P256, "\4" .. x .. y)
end

local function ed25519(key)
  if key.crv ~= "Ed25519" then return nil, "its curve is not Ed25519" end
  local x = point(key, "x")
  if not x then return nil, "its x is no key of Ed25519" end
  return pem(ED25519, x)
end

local KINDS = {
  RSA = {make = rsa, names = {RS256 = true}},
  EC = {make = p256, names = {ES256 = true}},
  OKP = {make = ed25519, names = {EdDSA = true, Ed25519 = true}},
}

local function has(list, wanted)
  for _, name in ipairs(list) do
    if name == wanted then return true end
  end
  return false
end

-- Why a key isn't one that signatures are verified by; nil when it is.
local function objection(key, kind)
  if key.d ~= nil or key.k ~= nil then return "it's a private one, which nobody may publish" end
  if key.use ~= nil and key.use ~= "sig" then return "it's not for signatures (use)" end
  local operations = key.key_ops
  if operations ~= nil and not (type(operations) == "table" and has(operations, "verify")) then
    return "it's not for verifying (key_ops)"
  end
  if key.alg ~= nil and not kind.names[key.alg] then return "it's for another algorithm (alg)" end
end

--- Reads a key.
-- @param key what JSON had
-- @treturn table|nil `key`, for sync.secrets.library, and the `kind` of algorithm that it's for; or
-- nil and why it can't be used
function jwk.read(key)
  local kind = type(key) == "table" and KINDS[key.kty]
  if not kind then return nil, "its kind (kty) is none of RSA, EC, OKP" end
  local problem = objection(key, kind)
  local text
  if not problem then text, problem = kind.make(key) end
  if not text then return nil, problem end
  local read, more = library.key(text, false)
  if not read then return nil, more end
  return {key = read, kind = more}
end

return jwk
