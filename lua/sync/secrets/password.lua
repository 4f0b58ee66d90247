--- Passwords, hashed on threads while the loop goes on: `sync.password`.
--
--     sync.spawn(function()
--       local hash = assert(sync.password.hash(password))      -- to keep
--       local right, old = sync.password.verify(password, hash)
--     end)
--
-- What is made is argon2id, with what OWASP asks for at least: 19 MiB, two passes, one lane,
-- about 30 ms of a core. `verify` knows what older tables hold, too, and says when a hash
-- should be made anew.
--
-- **Bounds.** `sync.password.threads` (one less than the cores, 1 to 4) hash at once, at a
-- lower priority than the loop, and `sync.password.queue` (64) wait; one more gets nil and
-- "busy". Set them before the first use. A password has at most 1,024 bytes.
-- @module sync.password

local core = require "sync.core"
local crypto = require "sync.secrets.crypto"
local library = require "sync.secrets.library"
local task = require "sync.task"

local LONGEST = 1024
local MOST_MEMORY, MOST_PASSES, MOST_LANES = 1024 * 1024, 64, 16 -- of argon2; KiB
local MOST_BCRYPT = 15                                            -- 2^15 rounds: 3 s
local MOST_ROUNDS = 1000000                                       -- of crypt's SHA
local MOST_ITERATIONS = 10000000                                  -- of PBKDF2
local MISUSED = "sync.password.%s: the password must be a string, not %s"

local password = {
  threads = math.max(1, math.min(4, core.C.sync_core_count() - 1)),
  queue = 64,
  --- What a new hash costs: `memory` in KiB, `passes`, `lanes`.
  cost = {memory = 19 * 1024, passes = 2, lanes = 1},
}

-- Waits for a job: `start` begins it, and returns nil and a message when it can't.
local function await(start)
  library.openPasswords(password.threads, password.queue)
  return task.await(function(resume)
    local id, message = start(resume)
    if not id then resume(nil, message) end
  end)
end

--- Hashes a password.
-- @tparam string text the password
-- @treturn string|nil the hash as text, about 100 bytes; or nil and a message
-- @raise outside a function that may wait
function password.hash(text)
  if type(text) ~= "string" then error(MISUSED:format("hash", type(text)), 2) end
  if #text > LONGEST then return nil, "the password is longer than 1024 bytes" end
  local loaded, problem = library.load("argon2")
  if not loaded then return nil, "sync.password: " .. problem end
  local code, hash = await(function(done) return library.hash(text, password.cost, done) end)
  if code == 0 then return hash end
  return nil, "sync.password: " .. (code and "argon2 failed with " .. code or hash)
end

-- How a hash is compared: functions of the password and the parts of the hash. They return
-- 1 or 0 (or an error's code), or nil and a message; and whether the hash should be made anew.

local function byLibrary(scheme, text, hash)
  local loaded, problem = library.load(scheme)
  if not loaded then return nil, problem end
  return await(function(done) return library.compare(scheme, text, hash, done) end)
end

local function byArgon2(text, hash)
  local kind, memory, passes, lanes =
    hash:match("^%$(argon2i?d?)%$v=%d+%$m=(%d+),t=(%d+),p=(%d+)%$[%w+/]+%$[%w+/]+$")
  memory, passes, lanes = tonumber(memory), tonumber(passes), tonumber(lanes)
  if not kind then return nil, "the hash is no whole hash of argon2" end
  if memory > MOST_MEMORY or passes > MOST_PASSES or lanes > MOST_LANES then
    return nil, "the hash asks for more memory or time than is given"
  end
  local cost = password.cost
  local isOld = kind ~= "argon2id" or memory < cost.memory or passes < cost.passes
  local value, problem = byLibrary("argon2", text, hash)
  if not value then return nil, problem end
  return value, isOld
end

local function byCrypt(text, hash)
  local cost = tonumber(hash:match("^%$2[aby]%$(%d%d)%$[%w./]+$")) or 0
  local rounds = tonumber(hash:match("^%$[56]%$rounds=(%d+)%$")) or 0
  if cost > MOST_BCRYPT or rounds > MOST_ROUNDS then
    return nil, "the hash asks for more time than is given"
  end
  local value, problem = byLibrary("crypt", text, hash)
  return value, value and true or problem
end

local function byPbkdf2(text, digest, iterations, salt, hash)
  iterations = tonumber(iterations)
  if not hash or #hash < 16 or not salt then return nil, "the hash is no whole hash of PBKDF2" end
  if iterations < 1 or iterations > MOST_ITERATIONS then
    return nil, "the hash asks for more time than is given"
  end
  local value, problem = await(function(done)
    return library.comparePbkdf2(text, digest, iterations, salt, hash, done)
  end)
  return value, value and true or problem
end

local function byDigest(algorithm, bytes, hash)
  return crypto.equal(crypto[algorithm](bytes, "bytes"), hash) and 1 or 0, true
end

local function fromHex(text)
  return (text:gsub("%x%x", function(pair) return string.char(tonumber(pair, 16)) end))
end

-- passlib's base64 has a dot for the plus, and no padding.
local function fromPasslib(text) return crypto.fromBase64((text:gsub("%.", "+"))) end

local LDAP = {MD5 = "md5", SMD5 = "md5", SHA = "sha1", SSHA = "sha1", SSHA256 = "sha256",
  SSHA512 = "sha512", SHA256 = "sha256", SHA512 = "sha512"}
local SIZES = {md5 = 16, sha1 = 20, sha256 = 32, sha512 = 64}

-- Pairs of a pattern of a hash and the function that compares: it gets the password, the
-- pattern's captures, and the hash last.
local FORMS = {
  {"^%$argon2", function(text, _, hash) return byArgon2(text, hash) end},
  {"^%$2[aby]%$", function(text, _, hash) return byCrypt(text, hash) end},
  {"^%$[156]%$", function(text, _, hash) return byCrypt(text, hash) end},
  {"^pbkdf2_(sha%d+)%$(%d+)%$([^$]+)%$([%w+/=]+)$", -- Django's
    function(text, digest, iterations, salt, hash)
      return byPbkdf2(text, digest, iterations, salt, crypto.fromBase64(hash))
    end},
  {"^%$pbkdf2%-(sha%d+)%$(%d+)%$([%w./]*)%$([%w./]+)$", -- passlib's
    function(text, digest, iterations, salt, hash)
      return byPbkdf2(text, digest, iterations, fromPasslib(salt), fromPasslib(hash))
    end},
  {"^(md5)%$([^$]*)%$(%x+)$", function(text, algorithm, salt, hash) -- Django's old ones
    return byDigest(algorithm, salt .. text, fromHex(hash))
  end},
  {"^(sha1)%$([^$]*)%$(%x+)$", function(text, algorithm, salt, hash)
    return byDigest(algorithm, salt .. text, fromHex(hash))
  end},
  {"^{(%w+)}([%w+/=]+)$", function(text, name, body) -- LDAP's
    local algorithm, bytes = LDAP[name], crypto.fromBase64(body)
    if not algorithm or not bytes then return nil, "the hash is of no kind that is known" end
    local size = SIZES[algorithm]
    if #bytes < size then return nil, "the hash is of no kind that is known" end
    return byDigest(algorithm, text .. bytes:sub(size + 1), bytes:sub(1, size))
  end},
}

local function compare(text, hash)
  for _, form in ipairs(FORMS) do
    local a, b, c, d = hash:match(form[1])
    if a then
      if not b then return form[2](text, a, hash) end
      return form[2](text, a, b, c, d)
    end
  end
  return nil, "the hash is of no kind that is known"
end

-- A hash that no password has: for a name that isn't there.
local function decoy()
  local cost = password.cost
  return ("$argon2id$v=19$m=%d,t=%d,p=%d$%s$%s"):format(cost.memory, cost.passes, cost.lanes,
    ("A"):rep(22), ("A"):rep(43))
end

--- Whether a password is the one that a hash was made of. Known are argon2; bcrypt, SHA-crypt
-- and MD5-crypt; PBKDF2 as Django and passlib write it; Django's md5 and sha1; LDAP's {SSHA}.
--
-- What another table holds is compared by its own function: of the password it makes what
-- the table would hold.
--
--     sync.password.verify(text, row.hash, function(text)
--       return sync.crypto.md5(sync.crypto.md5(text) .. row.salt)
--     end)
-- @tparam string text the password
-- @tparam string|nil hash nil, when there is no such user: it is false, and takes as long
-- @tparam[opt] function old
-- @treturn boolean|nil whether it is right; or nil and a message, when nobody can say
-- @treturn boolean when it is right: the hash is of an older kind or cheaper than
-- `sync.password.cost`, and `sync.password.hash(text)` should take its place
-- @raise outside a function that may wait
function password.verify(text, hash, old)
  if type(text) ~= "string" then error(MISUSED:format("verify", type(text)), 2) end
  if hash ~= nil and type(hash) ~= "string" then
    error("sync.password.verify: the hash must be a string, not " .. type(hash), 2)
  end
  if #text > LONGEST then return false, false end
  if old and hash then
    local right = crypto.equal(old(text), hash)
    return right, right
  end
  local value, isOld = compare(text, hash or decoy())
  if value == nil then return nil, "sync.password: " .. isOld end
  if value < 0 then return nil, "sync.password: the hash can't be compared with" end
  return value == 1 and hash ~= nil, value == 1 and hash ~= nil and isOld
end

return password
