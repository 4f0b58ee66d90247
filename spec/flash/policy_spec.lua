local policy = require "sync.flash.policy"
local socket = require "socket"
local support = require "spec.support"
local sync = require "sync"

describe("policy", function()
  it("names ports and ranges, and never low ones from a high port", function()
    assert.equal("1568,8000-8100", policy.ports({1568, "8000-8100"}, 843))
    assert.equal("80,1024", policy.ports({80, 1024}, 843))
    assert.equal("1024", policy.ports({80, 1024}, 8080))
    assert.equal("1024-2000", policy.ports({"500-2000"}, 8080))
    assert.equal("500-2000", policy.ports({"500-2000"}, 1023))
    assert.equal("1024-65535", policy.ports("*", 1024))
    assert.equal("*", policy.ports("*", 843))
    local ports, message = policy.ports({80, "1-1023"}, 8080)
    assert.is_nil(ports)
    assert.equal("none of the ports may be granted from port 8080", message)
    for _, wrong in ipairs {"x", -1, 65536, "5-4", 1.5, "-5"} do
      assert.is_nil((policy.ports({wrong}, 843)), tostring(wrong))
    end
  end)

  it("is written as players read it", function()
    assert.equal('<?xml version="1.0"?>\n<!DOCTYPE cross-domain-policy SYSTEM ' ..
      '"/xml/dtds/cross-domain-policy.dtd">\n<cross-domain-policy>\n' ..
      '  <allow-access-from domain="a.example" to-ports="8080"/>\n' ..
      '  <allow-access-from domain="*.b.example" to-ports="8080"/>\n' ..
      '</cross-domain-policy>\n', policy.write({"a.example", "*.b.example"}, {8080}, 8080))
    local master = policy.write({"*"}, "*", 843)
    assert.matches('<site-control permitted-cross-domain-policies="all"/>', master, 1, true)
    assert.matches('domain="*" to-ports="*"', master, 1, true)
    assert.matches('domain="&quot;&lt;&amp;&gt;&apos;"', policy.write({"\"<&>'"}, "*", 843), 1,
      true)
    assert.is_nil((policy.write({"*"}, {80}, 8080)))
  end)

  it("for requests by HTTP names no ports", function()
    local text = policy.writeForHttp {"a.example"}
    assert.matches('<allow-access-from domain="a.example"/>', text, 1, true)
    assert.matches('headers="Content-Type"', text, 1, true)
    assert.is_nil(text:find("to-ports", 1, true))
  end)

  describe("server", function()
    after_each(support.cleanUp)

    it("answers the request with the policy, a NUL, and its end", function()
      local Policy = require "sync.protocols.policy":extend("Policy")
      Policy.domains, Policy.ports = {"game.example"}, {1568, "8000-8100"}
      local client = support.connect(Policy)
      client:send("<policy-file-request/>\0")
      assert.equal(policy.write({"game.example"}, {1568, "8000-8100"}, 843) .. "\0",
        client:received())
      assert.is_false(client:isOpen())
    end)

    it("grants no low ports from a high one, and says so when nothing is left", function()
      local Policy = require "sync.protocols.policy":extend("Policy")
      Policy.ports = {80, 8000}
      local listener = sync.enable("127.0.0.1", 0, Policy)
      local function ask()
        local peer = assert(socket.connect("127.0.0.1", listener.port))
        peer:send("<policy-file-request/>\0")
        peer:settimeout(0)
        local answer = ""
        support.wait(function()
          local bytes, why, part = peer:receive("*a")
          answer = answer .. (bytes or part)
          return bytes or why == "closed"
        end)
        peer:close()
        return answer
      end
      assert.equal(policy.write({"*"}, {8000}, 1024) .. "\0", ask())
      Policy.ports = {80}
      local lines = support.logged(function()
        for _ = 1, 7 do assert.equal("", ask()) end
      end)
      listener:close()
      assert.equal(5, #lines) -- of these seven
      assert.matches(("none of the ports may be granted from port %d"):format(listener.port),
        lines[1], 1, true)
    end)

    it("answers nothing else", function()
      local Policy = require "sync.protocols.policy":extend("Policy")
      local client = support.connect(Policy)
      client:send("<policy-file-requesT/>\0")
      assert.equal("", client:received())
      assert.is_false(client:isOpen())
    end)
  end)
end)
