--- Signed tokens (RFC 7519): `sync.jwt`.
--
--     local mine = {algorithm = "HS256", key = secret, expires = 3600}
--     local token = sync.jwt.sign({sub = "ann"}, mine)
--     local claims, why = sync.jwt.verify(token, mine)
--
-- Algorithms are HS256 (a shared secret of 32 bytes or more), RS256, ES256 and EdDSA (keys in
-- PEM, Ed25519 for the last). The caller says which one is right: what a token says of itself
-- only has to agree, so "none" and a public key taken for a secret get nowhere.
--
-- Keys that an identity provider gives by a URL (JWKS) are fetched and kept:
--
--     Game.auth = sync.jwt.auth {keys = "https://login.example.com/jwks.json", audience = "game"}
--
-- No message has anything of a token or a key. Verifying takes some 5 µs (HS256) to 150 µs
-- (ES256), signing by RS256 1 ms; both answer at once.
-- @module sync.jwt

local crypto = require "sync.secrets.crypto"
local json = require "sync.json"
local library = require "sync.secrets.library"
local task = require "sync.task"

local LONGEST = 16 * 1024
local MOST_DEPTH = 16
local LEAST_SECRET = 32
local MOST_KEYS = 64 -- that are kept as they were read

local jwt = {}

local PUBLIC = {RS256 = true, ES256 = true, EdDSA = true}

-- Keys by "private" or "public" and their PEM: reading one takes 100 µs.
local read, count = {}, 0

local function keyOf(pem, isPrivate, algorithm)
  local name = (isPrivate and "private " or "public ") .. pem
  local found = read[name]
  if not found then
    local key, kind = library.key(pem, isPrivate)
    if not key then return nil, kind end
    if count >= MOST_KEYS then read, count = {}, 0 end
    found = {key = key, kind = kind}
    read[name], count = found, count + 1
  end
  if found.kind ~= algorithm then
    return nil, ("the key is one for %s, not for %s"):format(found.kind, algorithm)
  end
  return found.key
end

-- Whether the key may be one of the algorithm. A key in PEM is no secret: who has the public one
-- could sign by it.
local function checkKey(call, algorithm, key, level)
  if algorithm ~= "HS256" and not PUBLIC[algorithm] then
    error(("%s: the algorithm %q is none of HS256, RS256, ES256, EdDSA"):format(call,
      tostring(algorithm)), level + 1)
  end
  if type(key) ~= "string" then
    error(("%s: the key must be a string, not %s"):format(call, type(key)), level + 1)
  end
  if algorithm == "HS256" and (#key < LEAST_SECRET or key:find("-----BEGIN", 1, true)) then
    error(call .. ": the secret of HS256 has 32 bytes or more, and is no key in PEM", level + 1)
  end
end

-- Whether keys come by a URL: a text, or what jwt.keys has made.
local function isSet(keys)
  return type(keys) == "string" or type(keys) == "table" and type(keys.find) == "function"
end

-- That set. Its module is read when one is first wanted, for that opens the library of sync.http.
local function setOf(given, level)
  if type(given) == "table" and given.find then return given end
  local ok, set = pcall(require "sync.secrets.keyset".of, given)
  if not ok then error(set, level + 1) end
  return set
end

local function checkPublic(call, algorithm, level)
  for _, name in ipairs(type(algorithm) == "table" and algorithm or {algorithm}) do
    if not PUBLIC[name] then
      error(("%s: the algorithm %q of keys by a URL is none of RS256, ES256, EdDSA"):format(call,
        tostring(name)), level + 1)
    end
  end
end

local function checkOptions(call, options, level)
  local keys = options.keys
  if isSet(keys) then
    setOf(keys, level + 1)
    return checkPublic(call, options.algorithm, level + 1)
  end
  if not keys then checkKey(call, options.algorithm, options.key, level + 1) end
  for _, key in pairs(keys or {}) do checkKey(call, options.algorithm, key, level + 1) end
end

local function signature(algorithm, key, bytes)
  if algorithm == "HS256" then return library.hmac("sha256", key, bytes) end
  local private, problem = keyOf(key, true, algorithm)
  if not private then return nil, problem end
  local made = library.sign(private, bytes)
  return made, not made and "the signature failed" or nil
end

local function isRight(algorithm, key, bytes, shown)
  if algorithm == "HS256" then return library.equal(library.hmac("sha256", key, bytes), shown) end
  local public, problem = key.key, nil
  if not public then public, problem = keyOf(key, false, algorithm) end
  if not public then return nil, problem end
  return library.verify(public, bytes, shown)
end

--- Makes a token.
-- @tparam table claims what JSON can say
-- @tparam table options `algorithm`; `key`, the secret or the private key; `expires`, seconds
-- from now (nil: claims.exp says when, or it never ends); `id` of the key, its `kid`
-- @treturn string|nil the token, or nil and a message
function jwt.sign(claims, options)
  if type(claims) ~= "table" or type(options) ~= "table" then
    error("sync.jwt.sign(claims, options): both must be tables", 2)
  end
  checkKey("sync.jwt.sign", options.algorithm, options.key, 2)
  local body, now = {}, os.time()
  for name, value in pairs(claims) do body[name] = value end
  body.iat = body.iat or now
  if options.expires then body.exp = now + options.expires end
  local text, why = json.encode(body)
  if not text then
    return nil, "sync.jwt.sign: the claims are nothing that JSON can say: " .. why
  end
  local head = json.encode {typ = "JWT", alg = options.algorithm, kid = options.id}
  local signed = crypto.base64url(head) .. "." .. crypto.base64url(text)
  local made, problem = signature(options.algorithm, options.key, signed)
  if not made then return nil, "sync.jwt.sign: " .. problem end
  return signed .. "." .. crypto.base64url(made)
end

-- A part of a token as a table, nil when it is none. Only one text stands for its bytes.
local function decodePart(part)
  local bytes = not part:find("[+/=]") and crypto.fromBase64(part)
  if not bytes or crypto.base64url(bytes) ~= part then return nil end
  local ok, value = json.decode(bytes, MOST_DEPTH)
  return ok and type(value) == "table" and value or nil
end

local function isTime(value)
  return type(value) == "number" and value == value and math.abs(value) < 2 ^ 53
end

local function isFor(audience, wanted)
  if type(audience) == "string" then return audience == wanted end
  if type(audience) ~= "table" then return false end
  for _, name in ipairs(audience) do
    if name == wanted then return true end
  end
  return false
end

-- What is wrong with the claims of a token whose signature is right; nil when nothing is.
local function objection(claims, options)
  local now, leeway = os.time(), options.leeway or 30
  if claims.exp == nil and not options.endless then return "the token has no end (exp)" end
  if claims.exp ~= nil and not isTime(claims.exp) then return "its end (exp) is no time" end
  if claims.exp and now >= claims.exp + leeway then return "the token has expired" end
  if claims.nbf ~= nil and (not isTime(claims.nbf) or now < claims.nbf - leeway) then
    return "the token is not valid yet"
  end
  if options.audience and not isFor(claims.aud, options.audience) then
    return "the token is for another audience"
  end
  if options.issuer and claims.iss ~= options.issuer then
    return "the token is of another issuer"
  end
end

-- Whether the caller takes this algorithm. Of keys by a URL each is of one kind, so any will do
-- where none is named.
local function takes(options, name)
  local wanted = options.algorithm
  if type(wanted) == "string" then return name == wanted end
  if wanted == nil then return PUBLIC[name] == true end
  for _, each in ipairs(wanted) do
    if name == each then return true end
  end
  return false
end

local UNKNOWN = "the token is signed by a key that is not known"

local function keyFor(options, head, level)
  local keys = options.keys
  if isSet(keys) then return setOf(keys, level + 1):find(head.alg, head.kid) end
  local key = options.key
  if keys then key = type(head.kid) == "string" and keys[head.kid] or nil end
  return key, UNKNOWN
end

-- The parts of a token: what is signed, its head, its body and its signature.
local function parts(token)
  if #token > LONGEST then return nil, "the token is too long" end
  local head, body, shown = token:match("^([%w_-]+)%.([%w_-]+)%.([%w_-]+)$")
  local header, bytes = head and decodePart(head), shown and crypto.fromBase64(shown)
  if not header or not bytes or crypto.base64url(bytes) ~= shown then
    return nil, "this is no signed token"
  end
  return head .. "." .. body, header, body, bytes
end

local function verify(token, options, level)
  local signed, header, body, shown = parts(token)
  if not signed then return nil, header end
  if not takes(options, header.alg) then return nil, "the token is signed by another algorithm" end
  if header.crit ~= nil then return nil, "the token asks for an extension" end
  local key, problem, status = keyFor(options, header, level + 1)
  if not key then return nil, problem, status end
  local right
  right, problem = isRight(header.alg, key, signed, shown)
  if right == nil then return nil, problem end
  if not right then return nil, "the signature is wrong" end
  local claims = decodePart(body)
  if not claims then return nil, "the claims are no table" end
  problem = objection(claims, options)
  if problem then return nil, problem end
  return claims
end

--- Reads a token that was signed by the right key, and whose time is now.
-- @param token anything that a client may have sent
-- @tparam table options `algorithm`, the one that is right; `key`, the secret, or the public key
-- or a certificate, or instead `keys` by their ids (`kid`), or the URL of a key set, or what
-- `keys` has made; `audience` and `issuer`, which must be the token's; `leeway`, the seconds that
-- clocks may differ (30); `endless = true` for tokens without an end. With keys by a URL
-- `algorithm` may be a list, or nil: then RS256, ES256 and EdDSA are taken
-- @treturn table|nil the claims, or nil and what is wrong
-- @raise for options that make no sense; with keys by a URL outside a function that may wait
function jwt.verify(token, options)
  if type(options) ~= "table" then
    error("sync.jwt.verify(token, options): options must be a table", 2)
  end
  checkOptions("sync.jwt.verify", options, 2)
  if isSet(options.keys) then task.needed("sync.jwt.verify with keys by a URL", 2) end
  if type(token) ~= "string" then return nil, "sync.jwt: there is no token" end
  local claims, problem = verify(token, options, 2)
  if not claims then return nil, "sync.jwt: " .. problem end
  return claims
end

--- The keys of a URL, with options: for `keys` of `verify` and `auth`. Where the URL alone is given
-- there, all share what was fetched.
-- @tparam table options `url`, of https:// (of http:// on this machine alone); times in seconds:
-- `every` between two fetches (10), `least` (60) and `most` (a day) for what Cache-Control says,
-- `usual` (300) where it says nothing, `keep` (a day) for which old keys serve while the URL is
-- away; and those of sync.http, as `ca`, `token`, `proxy`, `forbid`
-- @treturn table
function jwt.keys(options)
  if type(options) ~= "table" then
    error("sync.jwt.keys(options): options must be a table, not " .. type(options), 2)
  end
  return setOf(options, 2)
end

--- Lets clients in by their tokens: `Game.auth = sync.jwt.auth {algorithm = "HS256", key = key}`.
-- @tparam table options as of `verify`, and `user`: a function of the claims and of a WebSocket's
-- handshake that returns the user, a table, or nil for one that may not come in; it may wait. By
-- default the user is the claims. A user is known by its `id`, or else by its `sub`
-- @treturn function for a class's `auth`
function jwt.auth(options)
  if type(options) ~= "table" then error("sync.jwt.auth(options): options must be a table", 2) end
  checkOptions("sync.jwt.auth", options, 2)
  local userOf, leeway = options.user, options.leeway or 30
  if userOf ~= nil and type(userOf) ~= "function" then
    error("sync.jwt.auth: user must be a function, not " .. type(userOf), 2)
  end
  return function(token, request)
    local claims, problem, status = verify(token, options, 1)
    if not claims then return nil, problem, status or 401 end
    local user = claims
    if userOf then
      user = userOf(claims, request)
      if not user then return nil, "this user may not come in", 403 end
    end
    return user, claims.exp and claims.exp + leeway
  end
end

return jwt
