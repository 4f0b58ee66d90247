-- sync.password, also against hashes that other programs have made.

local missing = require "spec.support.missing"
local Program = require "spec.support.program"
local Process = require "spec.support.process"
local support = require "spec.support"
local sync = require "sync"

local password = sync.password

-- What a call in a function that may wait returns.
local function waits(fn, ...)
  local results, arguments = nil, {...}
  sync.spawn(function() results = {fn(unpack(arguments))} end)
  support.wait(function() return results end)
  return unpack(results, 1, 2)
end

describe("sync.password", function()
  after_each(Process.cleanUp)

  it("hashes by argon2id and verifies", function()
    local hash = assert(waits(password.hash, "open\0sesame"))
    assert.matches("^%$argon2id%$v=19%$m=19456,t=2,p=1%$[%w+/]+%$[%w+/]+$", hash)
    assert.not_equal(hash, waits(password.hash, "open\0sesame"))
    assert.same({true, false}, {waits(password.verify, "open\0sesame", hash)})
    assert.same({false, false}, {waits(password.verify, "open\0sesamf", hash)})
    assert.same({false, false}, {waits(password.verify, "open", hash)})
    assert.same({false, false}, {waits(password.verify, "", hash)})
  end)

  it("knows what other tables hold, and says that it's old", function()
    for kind, hash in pairs {
      bcrypt = "$2y$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW",
      ["SHA-crypt"] = "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/" ..
        "Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/",
      ["MD5-crypt"] = "$1$saltsalt$9xy1btjgzLYfb7hivXtC//",
      ["Django's PBKDF2"] =
        "pbkdf2_sha256$1000$seasalt$+hs9qSCcGyNSGDNojIEbomuX9WI/mzTF5yfwAXqyKOo=",
      ["passlib's PBKDF2"] =
        "$pbkdf2-sha512$25$c2FsdHNhbHQ$tWstVNTmiL9GnDrmacr0LL31b.fwWrBbomvhj3" ..
        "hrVYI.e0eNyxLV6.CjKFC5aLfd6tthPSMGELIoIRrFtVwW3w",
      ["Django's MD5"] = "md5$salt$d42a0f742ffc1be4e1cc0845c2429c97",
      ["Django's SHA-1"] = "sha1$salt$da00ec2e6ff9ed4d342b24a16e262c82f3c8b10b",
      ["LDAP's SSHA"] = "{SSHA}gVK8WC9YyFT1gMsQHTGCgT3sSv5zYWx0",
      ["cheap argon2id"] = waits(function()
        local before = password.cost
        password.cost = {memory = 64, passes = 1, lanes = 2}
        local made = password.hash("secret")
        password.cost = before
        return made
      end),
    } do
      assert.same({true, true}, {waits(password.verify, "secret", hash)}, kind)
      assert.same({false, false}, {waits(password.verify, "Secret", hash)}, kind)
      -- HMAC pads a key by zeros, so to PBKDF2 these are one password, wherever it's made.
      local isPadded = kind:find("PBKDF2", 1, true) ~= nil
      assert.equal(isPadded, (waits(password.verify, "secret\0", hash)), kind)
    end
  end)

  it("compares by a table's own way", function()
    local function old(text) return sync.crypto.md5(sync.crypto.md5(text) .. "salt") end
    local hash = old("secret")
    assert.same({true, true}, {waits(password.verify, "secret", hash, old)})
    assert.same({false, false}, {waits(password.verify, "secreT", hash, old)})
  end)

  it("takes as long for a name that isn't there", function()
    assert.same({false, false}, {waits(password.verify, "x", nil)})
    local function old() error "not asked" end
    assert.same({false, false}, {waits(password.verify, "x", nil, old)})
  end)

  it("says when nobody can tell", function()
    for hash, why in pairs {
      [""] = "of no kind", plain = "of no kind", ["{NONE}abcd"] = "of no kind",
      ["{SSHA}abcd"] = "of no kind", ["$9$x"] = "of no kind",
      ["$argon2id$"] = "no whole hash of argon2",
      ["$argon2id$v=19$m=9999999,t=1,p=1$AAAAAAAAAAA$AAAAAAAAAAA"] = "more memory or time",
      ["$argon2id$v=19$m=64,t=1,p=1$A$A"] = "can't be compared",
      ["$2y$31$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"] = "more time",
      ["$2y$04$short"] = "can't be compared",
      ["$6$rounds=999999999$a$b"] = "more time",
      ["pbkdf2_sha256$99999999$salt$AAAAAAAAAAAAAAAAAAAAAAAA"] = "more time",
      ["pbkdf2_sha256$0$salt$AAAAAAAAAAAAAAAAAAAAAAAA"] = "more time",
      ["pbkdf2_sha256$9$salt$AAAA"] = "no whole hash",
    } do
      local right, problem = waits(password.verify, "secret", hash)
      assert.is_nil(right, hash)
      assert.matches(why, problem, 1, hash)
    end
    assert.matches("must be a string, not nil", support.raised(password.hash))
    assert.matches("must be a string, not table", support.raised(password.verify, "", {}))
    assert.matches("longer than 1024", select(2, waits(password.hash, ("x"):rep(1025))))
    assert.is_false((waits(password.verify, ("x"):rep(1025), "")))
    assert.matches("this waits", support.raised(password.hash, "x"))
  end)

  it("refuses what the threads can't take, and the loop goes on", function()
    local code, out, err = Program.runCode [[
      local sync = require "sync"
      sync.password.threads, sync.password.queue = 1, 5
      local made, refused, ticks = 0, {}, 0
      sync.every(0.001, function() ticks = ticks + 1 end)
      for i = 1, 10 do
        sync.spawn(function()
          local hash, why = sync.password.hash("x")
          if hash then made = made + 1 else refused[#refused + 1] = why end
          if made + #refused == 10 then
            print(made, #refused, refused[1], ticks > made)
            sync.stop()
          end
        end)
      end
      sync.start()
    ]]
    assert.equal(0, code, err)
    -- The one thread has taken none or one of them meanwhile.
    assert.matches("^[56]\t[45]\tsync.password: busy: too many wait already\ttrue\n$", out)
  end)

  it("names the package where a library is missing", function()
    for library, package in pairs {libargon2 = "libargon2%-1", libcrypt = "libcrypt1"} do
      local said = missing.run(library, [[
        local sync = require "sync"
        sync.spawn(function()
          print(sync.password.hash "x")
          print(sync.password.verify("x", "$1$saltsalt$9xy1btjgzLYfb7hivXtC//"))
        end)
        sync.start()
      ]])
      assert.matches("nil\tsync.password: the library " .. library ..
        " is missing: apt%-get install " .. package .. "\n", said)
      assert.matches(library == "libargon2" and "\nfalse\tfalse\n" or "argon2id", said)
    end
  end)
end)
