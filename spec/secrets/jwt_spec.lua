-- sync.jwt, also against tokens and keys that OpenSSL's program has made.

local Process = require "spec.support.process"
local support = require "spec.support"
local sync = require "sync"

local crypto, jwt = sync.crypto, sync.jwt
local SECRET = ("0123456789abcdef"):rep(2)

local function read(path)
  local file = assert(io.open(path, "rb"))
  local text = file:read("*a")
  file:close()
  return text
end

local function openssl(...)
  local process = Process.start {"openssl", ...}
  assert.equal(0, process:wait(), process:stderr())
end

-- A pair of keys in PEM.
local function keys(...)
  local private, public = Process.file(nil, ".key"), Process.file(nil, ".pub")
  openssl("genpkey", "-out", private, ...)
  openssl("pkey", "-in", private, "-pubout", "-out", public)
  return read(private), read(public), private
end

-- A token of any parts, signed by HS256.
local function forged(head, body, secret)
  local signed = crypto.base64url(head) .. "." .. crypto.base64url(body)
  return signed .. "." .. crypto.hmac("sha256", secret or SECRET, signed, "base64url")
end

local HS256 = {algorithm = "HS256", key = SECRET}
local HEAD = '{"alg":"HS256"}'

describe("sync.jwt", function()
  after_each(Process.cleanUp)

  it("signs and verifies by a secret", function()
    local token = jwt.sign({sub = "ann", aud = {"game", "chat"}, iss = "us"},
      {algorithm = "HS256", key = SECRET, expires = 60})
    local claims = assert(jwt.verify(token, {algorithm = "HS256", key = SECRET, audience = "chat",
      issuer = "us"}))
    assert.equal("ann", claims.sub)
    assert.is_true(math.abs(claims.exp - os.time() - 60) <= 1)
    assert.is_nil((jwt.verify(token, {algorithm = "HS256", key = SECRET:reverse()})))
  end)

  it("keeps claims as they are: lists, long numbers, null", function()
    local token = jwt.sign({id = 1732900000123456, third = 1 / 3, roles = sync.list(),
      none = sync.null, deep = {{1}}, exp = os.time() + 60}, HS256)
    assert.matches('"roles":[]', crypto.fromBase64((token:match "%.(.-)%.")), 1, true)
    local claims = jwt.verify(token, HS256)
    assert.same({1732900000123456, 1 / 3, sync.null},
      {claims.id, claims.third, claims.none})
    assert.equal(getmetatable(sync.list()), getmetatable(claims.roles))
  end)

  it("verifies the token of RFC 7515, appendix A.1", function()
    local key = crypto.fromBase64("AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN" ..
      "3Yj0iPS4hcgUuTwjAzZr1Z9CAow")
    local token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA" ..
      "4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.dBjftJeZ4CVP-mB92K27uhbUJU1p" ..
      "1r_wW1gFWFOEjXk"
    local claims, why = jwt.verify(token, {algorithm = "HS256", key = key})
    assert.is_nil(claims)
    assert.equal("sync.jwt: the token has expired", why) -- in 2011, so its signature is right
  end)

  for algorithm, options in pairs {
    RS256 = {"-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"},
    ES256 = {"-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"},
    EdDSA = {"-algorithm", "ED25519"},
  } do
    it("signs and verifies by " .. algorithm, function()
      local private, public, file = keys(unpack(options))
      local token = assert(jwt.sign({sub = "ann"}, {algorithm = algorithm, key = private,
        expires = 60}))
      local right = {algorithm = algorithm, key = public}
      for _ = 1, 20 do -- signatures of ECDSA differ each time
        token = assert(jwt.sign({sub = "ann"}, {algorithm = algorithm, key = private,
          expires = 60}))
        assert.equal("ann", assert(jwt.verify(token, right)).sub)
      end
      local certificate = Process.file(nil, ".crt")
      openssl("req", "-x509", "-new", "-key", file, "-subj", "/CN=x", "-out", certificate)
      assert(jwt.verify(token, {algorithm = algorithm, key = read(certificate)}))
      local head, body, signature = token:match("(.*)%.(.*)%.(.*)")
      local other = crypto.base64url('{"sub":"eve","exp":99999999999}')
      assert.equal("sync.jwt: the signature is wrong", select(2, jwt.verify(
        head .. "." .. other .. "." .. signature, right)))
      for _, cut in ipairs {"AAAA", signature:sub(1, -5), signature .. "AAAA"} do
        assert.is_nil((jwt.verify(head .. "." .. body .. "." .. cut, right)))
      end
      -- What a public key would sign, taken for a secret.
      local confused = forged(HEAD, '{"sub":"eve","exp":99999999999}', public)
      assert.equal("sync.jwt: the token is signed by another algorithm",
        select(2, jwt.verify(confused, right)))
      assert.matches("no key in PEM", support.raised(jwt.verify, confused,
        {algorithm = "HS256", key = public}))
      local wrong = algorithm == "RS256" and "ES256" or "RS256"
      assert.matches("the key is one for " .. algorithm, select(2,
        jwt.sign({}, {algorithm = wrong, key = private})))
    end)
  end

  it("refuses what isn't signed, however it is written", function()
    for _, name in ipairs {"none", "None", "NONE", ""} do
      local head = crypto.base64url(('{"alg":"%s"}'):format(name))
      local body = crypto.base64url('{"sub":"eve","exp":99999999999}')
      for _, token in ipairs {head .. "." .. body .. ".", head .. "." .. body,
        head .. "." .. body .. ".AAAA"} do
        assert.is_nil((jwt.verify(token, HS256)))
      end
      assert.matches("none of HS256", support.raised(jwt.verify, "a.b.c", {algorithm = name,
        key = SECRET}))
    end
  end)

  it("heeds times, audience, issuer and what must be understood", function()
    local function why(body, options, head)
      local wanted = {algorithm = "HS256", key = SECRET}
      for name, value in pairs(options or {}) do wanted[name] = value end
      local claims, problem = jwt.verify(forged(head or HEAD, body), wanted)
      return claims and "right" or problem:gsub("^sync.jwt: ", "")
    end
    local now = os.time()
    local later = ('"exp":%d'):format(now + 100)
    assert.equal("right", why("{" .. later .. "}"))
    assert.equal("the token has no end (exp)", why("{}"))
    assert.equal("right", why("{}", {endless = true}))
    assert.equal("the token has expired", why(('{"exp":%d}'):format(now - 31)))
    assert.equal("right", why(('{"exp":%d}'):format(now - 20)))
    assert.equal("the token has expired", why(('{"exp":%d}'):format(now - 20), {leeway = 5}))
    for _, exp in ipairs {'"soon"', "null", "1e400", "-1e400", "true", "{}"} do
      assert.not_equal("right", why(('{"exp":%s}'):format(exp)), exp)
    end
    assert.equal("the token is not valid yet", why(('{%s,"nbf":%d}'):format(later, now + 60)))
    assert.equal("the token is for another audience", why("{" .. later .. "}", {audience = "a"}))
    assert.equal("the token is for another audience", why("{" .. later .. ',"aud":"b"}',
      {audience = "a"}))
    assert.equal("right", why("{" .. later .. ',"aud":["b","a"]}', {audience = "a"}))
    assert.equal("the token is of another issuer", why("{" .. later .. ',"iss":"x"}',
      {issuer = "us"}))
    assert.equal("the token asks for an extension", why("{" .. later .. "}", nil,
      '{"alg":"HS256","crit":["b64"]}'))
    assert.equal("the claims are no table", why("7"))
    assert.equal("this is no signed token", why("{}", nil, "7"))
  end)

  it("picks the key by its id", function()
    local token = jwt.sign({}, {algorithm = "HS256", key = SECRET, expires = 9, id = "b"})
    local keysById = {a = SECRET:reverse(), b = SECRET}
    assert(jwt.verify(token, {algorithm = "HS256", keys = keysById}))
    keysById.b = nil
    assert.matches("a key that is not known", select(2, jwt.verify(token,
      {algorithm = "HS256", keys = keysById})))
  end)

  it("has nothing of a token in its messages, whatever was sent", function()
    local token = jwt.sign({sub = "ann"}, {algorithm = "HS256", key = SECRET, expires = 9})
    math.randomseed(7)
    for i = 1, 5000 do
      local at = math.random(#token)
      local changed = i % 2 == 0 and token:sub(1, at) .. string.char(math.random(0, 255)) ..
        token:sub(at + 2) or token:sub(1, at - 1) .. token:sub(at + 1)
      local claims, why = jwt.verify(changed, HS256)
      if changed ~= token then
        assert.is_nil(claims, changed)
        assert.is_true(#why < 60)
        assert.is_nil(why:find(token:sub(math.min(at, #token - 8)):sub(1, 8), 1, true))
      end
    end
    for _, sent in ipairs {{}, 7, false, ("."):rep(1000), ("a"):rep(20000), "", "..", "\0.\0.\0"} do
      assert.is_nil((jwt.verify(sent, HS256)))
    end
    assert.is_nil((jwt.verify(nil, HS256)))
  end)

  it("says what a key lacks", function()
    assert.matches("32 bytes or more", support.raised(jwt.sign, {}, {algorithm = "HS256",
      key = "short"}))
    assert.matches("must be a string, not nil", support.raised(jwt.verify, "",
      {algorithm = "RS256"}))
    local small = keys("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024")
    assert.equal("sync.jwt.sign: an RSA key needs 2048 bits, this one has 1024", select(2,
      jwt.sign({}, {algorithm = "RS256", key = small})))
    local p384 = keys("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
    assert.matches("this one is on secp384r1", select(2, jwt.sign({}, {algorithm = "ES256",
      key = p384})))
    assert.matches("no private key in PEM", select(2, jwt.sign({}, {algorithm = "RS256",
      key = "nonsense"})))
    assert.matches("nothing that JSON can say", select(2, jwt.sign({f = print}, HS256)))
  end)
end)
