-- Keys of tokens that a URL gives, by an identity provider of another make (keys.mjs).

local Process = require "spec.support.process"
local fetch = require "spec.fetch.support"
local json = require "sync.json"
local jwk = require "sync.secrets.jwk"
local log = require "sync.log"
local support = require "spec.support"
local sync = require "sync"

local crypto, jwt = sync.crypto, sync.jwt

describe("keys by a URL", function()
  local provider
  local lines, limited

  local function ask(path, query)
    local response = assert(fetch.get(provider, path, {query = query}))
    assert.equal(200, response.status)
    return response.body
  end

  -- What the provider answers from now on, and it was asked for nothing yet.
  local function says(answer)
    assert(fetch.get(provider, "/answer", {method = "PUT", json = answer}))
  end

  local function asked() return tonumber(ask "/asked") end

  local function token(key, head, claims)
    claims = claims or {sub = "ann", exp = os.time() + 60}
    return ask("/sign", {key = key, head = json.encode(head), body = json.encode(claims)})
  end

  local function keys(options)
    local given = {url = provider.url .. "/set", proxy = false}
    for name, value in pairs(options or {}) do given[name] = value end
    return jwt.keys(given)
  end

  local function verify(shown, set, options)
    local given = {keys = set}
    for name, value in pairs(options or {}) do given[name] = value end
    return fetch.waits(jwt.verify, shown, given)
  end

  local function why(...) return (select(2, verify(...)):gsub("^sync.jwt: ", "")) end

  setup(function()
    local process = Process.start {"node", "spec/secrets/keys.mjs"}
    local port = process:expect("stdout", "listening on (%d+)")
    provider = {process = process, url = "http://127.0.0.1:" .. port}
  end)

  teardown(Process.cleanUp)

  before_each(function()
    lines, limited = {}, log.limited
    log.limited = function(_, _, text) lines[#lines + 1] = text end
  end)

  after_each(function() log.limited = limited end)

  local ALL = {keys = {{"rsa", {kid = "r"}}, {"ec", {kid = "e", use = "sig", alg = "ES256"}},
    {"ed", {kid = "d", key_ops = {"verify"}}}}}

  it("are fetched once, and chosen by the token's", function()
    says(ALL)
    local set = keys()
    for _, each in ipairs {{"rsa", "r", "RS256"}, {"ec", "e", "ES256"}, {"ed", "d", "EdDSA"}} do
      local shown = token(each[1], {alg = each[3], kid = each[2]})
      assert.equal("ann", assert(verify(shown, set)).sub)
      assert.equal("ann", assert(verify(shown, set, {algorithm = each[3]})).sub)
      assert(verify(shown, set, {algorithm = {"ES256", "EdDSA", "RS256"}}))
      assert.equal("the signature is wrong", why(shown:sub(1, -12) .. ("A"):rep(11), set))
    end
    assert.equal("the signature is wrong", why(token("other", {alg = "RS256", kid = "r"}), set))
    assert.equal("the token has expired", why(token("rsa", {alg = "RS256", kid = "r"},
      {exp = 1}), set))
    assert.equal(1, asked())
  end)

  it("by the URL alone, are one set", function()
    says(ALL)
    local shown, url = token("ed", {alg = "EdDSA", kid = "d"}), provider.url .. "/set"
    assert(verify(shown, url))
    assert(verify(shown, url))
    assert.equal(1, asked())
  end)

  it("serve without an id when there is one of the kind", function()
    says {keys = {{"rsa", {kid = "r"}}, {"ec"}, {"other", {kid = "o"}}}}
    local set = keys()
    assert(verify(token("ec", {alg = "ES256"}), set))
    assert.equal("the token is signed by a key that is not known", why(token("rsa",
      {alg = "RS256"}), set))
  end)

  it("are for their own algorithm alone", function()
    says(ALL)
    local set, pem = keys(), ask("/public", {key = "rsa"})
    local head = crypto.base64url '{"alg":"HS256","kid":"r"}'
    local body = crypto.base64url(json.encode {exp = os.time() + 60})
    local forged = head .. "." .. body .. "." .. crypto.hmac("sha256", pem, head .. "." .. body,
      "base64url")
    assert.equal("the token is signed by another algorithm", why(forged, set))
    assert.equal("the token is signed by another algorithm", why(token("rsa", {alg = "none",
      kid = "r"}), set))
    assert.equal("the token is signed by a key that is not known", why(token("rsa", {alg = "RS256",
      kid = "e"}), set))
    assert.equal("the token is signed by another algorithm", why(token("rsa", {alg = "RS256",
      kid = "r"}), set, {algorithm = "ES256"}))
    assert.matches("none of RS256", support.raised(jwt.auth, {keys = set, algorithm = "HS256"}))
  end)

  it("that are not for signatures, weak, private or none are passed over", function()
    says {keys = {{"rsa", {kid = "1", use = "enc"}}, {"ec", {kid = "2", key_ops = {"sign"}}},
      {"ed", {kid = "3", alg = "ES256"}}, {"weak", {kid = "4"}}, {"p384", {kid = "5"}},
      {"x25519", {kid = "6"}}, {"ec", {kid = "7", d = "AAAA"}}, {"none", {kty = "oct", k = "AAAA"}},
      {"ec", {kid = "8", x = ("A"):rep(43)}}, {"rsa", {kid = "9", e = "AQ"}}, {"none", {}},
      {"ed", {kid = ("k"):rep(300)}}, {"ed", {kid = 7}}, {"ed", {kid = "right"}}}}
    local set = keys()
    assert(verify(token("ed", {alg = "EdDSA", kid = "right"}), set))
    for kid, name in ipairs {"rsa", "ec", "ed", "weak", "p384", "ed", "ec", "ec", "rsa"} do
      local algorithm = name == "ed" and "EdDSA" or (name == "ec" or name == "p384") and "ES256" or
        "RS256"
      assert.equal("the token is signed by a key that is not known", why(token(name,
        {alg = algorithm, kid = tostring(kid)}), set), name)
    end
    assert.equal(1, asked())
  end)

  it("are kept as long as Cache-Control says, within bounds", function()
    local shown = token("ed", {alg = "EdDSA", kid = "d"})
    local set
    local function again(headers, times)
      says {keys = ALL.keys, headers = headers}
      times.every = 0.01
      set = keys(times)
      local begun = sync.now()
      assert(verify(shown, set))
      Process.eventually("the keys are fetched again", function()
        assert(verify(shown, set))
        return asked() == 2
      end)
      return sync.now() - begun
    end
    -- Three quarters of it are over.
    assert.is_true(again({["Cache-Control"] = "public, max-age=1"}, {least = 0.01}) > 0.7)
    assert.is_true(again({["Cache-Control"] = "max-age=9", Age = "8"}, {least = 0.01}) > 0.7)
    assert.is_true(again({["Cache-Control"] = "max-age=600"}, {least = 0.01, most = 0.4}) > 0.28)
    assert.is_true(again({["Cache-Control"] = "no-store"}, {least = 0.4}) > 0.28)
    assert.is_true(again({}, {least = 0.01, usual = 0.4}) > 0.28)
    says {keys = ALL.keys, headers = {["Cache-Control"] = "no-store"}}
    set = keys() -- for a minute at least
    for _ = 1, 20 do assert(verify(shown, set)) end
    assert.equal(1, asked())
  end)

  it("are fetched again for one that isn't known, however many ask", function()
    says(ALL)
    local set = keys {every = 600}
    assert(verify(token("ed", {alg = "EdDSA", kid = "d"}), set))
    local body = crypto.base64url(json.encode {exp = os.time() + 60})
    local done = 0
    for i = 1, 500 do
      local shown = crypto.base64url(json.encode {alg = "RS256", kid = "x" .. i}) .. "." .. body ..
        ".AAAA"
      sync.spawn(function()
        local claims, problem = jwt.verify(shown, {keys = set})
        assert.is_nil(claims)
        assert.equal("sync.jwt: the token is signed by a key that is not known", problem)
        done = done + 1
      end)
    end
    support.wait(function() return done == 500 end, Process.BOUND)
    assert.equal(1, asked())
    set = keys {every = 0.5}
    assert(verify(token("ed", {alg = "EdDSA", kid = "d"}), set))
    says {keys = {{"other", {kid = "new"}}}}
    local shown = token("other", {alg = "RS256", kid = "new"})
    Process.eventually("the new key is known", function() return verify(shown, set) end)
    assert.equal(1, asked())
    assert.is_nil((verify(token("ed", {alg = "EdDSA", kid = "d"}), set))) -- withdrawn
  end)

  it("that are old serve while the URL is away, for a time", function()
    says {keys = ALL.keys, headers = {["Cache-Control"] = "max-age=0"}}
    local set = keys {least = 0.05, every = 0.05, keep = 1.5, timeout = 0.2}
    local shown = token("ed", {alg = "EdDSA", kid = "d"})
    assert(verify(shown, set))
    local begun = sync.now()
    says {silent = true}
    while sync.now() < begun + 1 do assert(verify(shown, set)) end
    assert.matches("the keys of tokens can't be fetched: .*timeout.*; the old ones serve",
      table.concat(lines))
    Process.eventually("they serve no more", function()
      return select(2, verify(shown, set)) == "sync.jwt: the keys of tokens can't be had at present"
    end)
    local status = select(3, fetch.waits(jwt.auth {keys = set}, shown))
    assert.equal(503, status)
    says(ALL)
    Process.eventually("there are some again", function() return verify(shown, set) end)
  end)

  it("that make no sense are none", function()
    local shown = token("ed", {alg = "EdDSA", kid = "d"})
    local many = {}
    for i = 1, 65 do many[i] = {"ed", {kid = "d" .. i}} end
    for _, case in ipairs {
      {{status = 500, keys = ALL.keys}, "the answer was 500"},
      {{status = 302, headers = {Location = provider.url .. "/set"}}, "the answer was 302"},
      {{body = "no JSON"}, "is no JSON"},
      {{body = "[]"}, "has no list of keys"},
      {{body = '{"keys":7}'}, "has no list of keys"},
      {{body = '{"keys":[]}'}, "gives no key that can be used"},
      {{body = '{"keys":[7,null,{}]}'}, "place 1: its kind %(kty%) is none of"},
      {{keys = many}, "more than 64 keys"},
      {{body = (" "):rep(300000) .. '{"keys":[]}'}, "larger than maxBody"},
      {{headers = {X = ("x"):rep(15000), Y = ("y"):rep(15000)}}, "maxHead"},
    } do
      says(case[1])
      local set = keys()
      assert.equal("the keys of tokens can't be had at present", why(shown, set))
      assert.equal("the keys of tokens can't be had at present", why(shown, set))
      assert.equal(1, asked())
      assert.matches(case[2], lines[#lines])
    end
  end)

  it("want a URL that nobody on the way can change, and options that there are", function()
    for _, url in ipairs {"http://example.com/set", "ftp://localhost/set", "", "/set",
      "http://localhost.example.com/", "http://127.0.0.1.example.com/",
      "http://localhost@example.com/"} do
      assert.matches("must be one of https://", support.raised(jwt.auth, {keys = url}))
    end
    assert.matches("must have a url", support.raised(jwt.keys, {}))
    assert.matches("least of keys must be seconds", support.raised(jwt.keys,
      {url = "https://example.com/", least = 0}))
    assert.matches("there is no option colour", support.raised(jwt.keys,
      {url = "https://example.com/", colour = 7}))
    assert.matches("must be called inside", support.raised(jwt.verify, "a.b.c", {keys = keys()}))
  end)

  it("are read or refused, whatever is in them", function()
    local base = {}
    for _, name in ipairs {"rsa", "ec", "ed"} do
      says {keys = {{name}}}
      base[#base + 1] = assert(select(2, json.decode(ask "/set"))).keys[1]
    end
    math.randomseed(11)
    local VALUES = {"", "AA", "AQAB", ("A"):rep(43), ("_"):rep(43), ("A"):rep(3000), "=", "\0",
      "x y", 7, true, {}, {"verify"}, sync.null, "RSA", "EC", "OKP", "P-256", "Ed25519", "sig"}
    local taken = 0
    for _ = 1, 500 do
      local changed = {}
      for name, value in pairs(base[math.random(3)]) do changed[name] = value end
      local names = {"kty", "n", "e", "crv", "x", "y", "use", "alg", "key_ops", "d"}
      for _ = 1, math.random(0, 2) do
        changed[names[math.random(#names)]] = VALUES[math.random(#VALUES)]
      end
      local key, problem = jwk.read(changed)
      assert.is_true(key ~= nil or type(problem) == "string")
      if key then taken = taken + 1 end
    end
    assert.is_true(taken > 50)
  end)
end)
