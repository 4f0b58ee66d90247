-- sync.crypto: against the vectors of RFCs 1321, 2202, 4231, 4648 and FIPS 180.

local support = require "spec.support"
local crypto = require "sync".crypto

describe("sync.crypto", function()
  it("digests", function()
    assert.equal("900150983cd24fb0d6963f7d28e17f72", crypto.md5("abc"))
    assert.equal("a9993e364706816aba3e25717850c26c9cd0d89d", crypto.sha1("abc"))
    assert.equal("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
      crypto.sha256("abc"))
    assert.equal("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      crypto.sha256(""))
    assert.equal(64, #crypto.sha512("\0\255", "bytes"))
    assert.equal(48, #crypto.sha384("", "bytes"))
    assert.matches("must be a string, not nil", support.raised(crypto.sha256))
    assert.matches("form \"hax\" is none of", support.raised(crypto.sha256, "", "hax"))
  end)

  it("digests with a key", function()
    assert.equal("9294727a3638bb1c13f48ef8158bfc9d",
      crypto.hmac("md5", ("\011"):rep(16), "Hi There"))
    assert.equal("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
      crypto.hmac("sha256", ("\011"):rep(20), "Hi There"))
    assert.equal(32, #crypto.hmac("sha256", "", "", "bytes"))
    assert.matches("algorithm \"sha3\" is none of", support.raised(crypto.hmac, "sha3", "", ""))
  end)

  it("writes and reads base64 of both alphabets", function()
    for text, base64 in pairs {[""] = "", f = "Zg==", fo = "Zm8=", foo = "Zm9v", foob = "Zm9vYg==",
      ["\251\255\190"] = "+/++"} do
      assert.equal(base64, crypto.base64(text))
      assert.equal(text, crypto.fromBase64(base64))
      assert.equal(text, crypto.fromBase64((base64:gsub("=", ""))))
      assert.equal(text, crypto.fromBase64(crypto.base64url(text)))
    end
    assert.equal("-_--", crypto.base64url("\251\255\190"))
    for _, text in ipairs {"Z", "Zg===", "Zm 9v", "Zm9v\n", "=Zg=", "Z\0==", "Zg=Zg=="} do
      assert.is_nil((crypto.fromBase64(text)), text)
    end
    for length = 0, 70 do
      local bytes = crypto.random(length + 1, "bytes")
      assert.equal(bytes, crypto.fromBase64(crypto.base64(bytes)))
    end
  end)

  it("makes what nobody can guess", function()
    assert.equal(16, #crypto.random(8))
    assert.equal(8, #crypto.random(8, "bytes"))
    assert.matches("^[%w_-]+$", crypto.random(32, "base64url"))
    assert.not_equal(crypto.random(16), crypto.random(16))
    for _, count in ipairs {0, -1, 1.5, 65537, "x"} do
      assert.matches("whole number from 1 to 65536", support.raised(crypto.random, count))
    end
  end)

  it("compares", function()
    assert.is_true(crypto.equal("", ""))
    assert.is_true(crypto.equal("a\0b", "a\0b"))
    assert.is_false(crypto.equal("a\0b", "a\0c"))
    assert.is_false(crypto.equal("a", "ab"))
    assert.matches("must be a string", support.raised(crypto.equal, "a", nil))
  end)
end)
