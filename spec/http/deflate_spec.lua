local deflate = require "sync.http.deflate"

local OFF, ON = {}, {sendTakeover = true, receiveTakeover = true}

local function answer(offer, settings)
  return (deflate.negotiate(offer, settings or OFF))
end

describe("permessage-deflate", function()
  it("is agreed on without takeover unless that is wanted", function()
    local text, agreed = deflate.negotiate("permessage-deflate", OFF)
    assert.equal("permessage-deflate; server_no_context_takeover; client_no_context_takeover", text)
    assert.same({sendBits = 15, receiveBits = 15}, {sendBits = agreed.sendBits,
      receiveBits = agreed.receiveBits})
    assert.is_falsy(agreed.sendTakeover)
    assert.is_falsy(agreed.receiveTakeover)
    text, agreed = deflate.negotiate("permessage-deflate", ON)
    assert.equal("permessage-deflate", text)
    assert.is_true(agreed.sendTakeover)
    assert.is_true(agreed.receiveTakeover)
  end)

  it("gives up takeover where the client does", function()
    assert.equal("permessage-deflate; server_no_context_takeover",
      answer("permessage-deflate; server_no_context_takeover", ON))
    assert.equal("permessage-deflate; client_no_context_takeover",
      answer("permessage-deflate; client_no_context_takeover", ON))
  end)

  it("keeps to the windows that are asked for", function()
    assert.equal("permessage-deflate; server_max_window_bits=10",
      answer("permessage-deflate; server_max_window_bits=10", ON))
    assert.equal("permessage-deflate; server_max_window_bits=9",
      answer('permessage-deflate; server_max_window_bits="9"', ON))
    assert.equal("permessage-deflate", answer("permessage-deflate; client_max_window_bits", ON))
    local text, agreed = deflate.negotiate("permessage-deflate; client_max_window_bits=12", ON)
    assert.equal("permessage-deflate; client_max_window_bits=12", text)
    assert.equal(12, agreed.receiveBits)
    agreed = select(2, deflate.negotiate("permessage-deflate; client_max_window_bits=12", OFF))
    assert.equal(15, agreed.receiveBits)
  end)

  it("declines what it can't do, and takes the next offer", function()
    for _, offer in ipairs {"permessage-deflate; server_max_window_bits=8",
      "permessage-deflate; server_max_window_bits=7",
      "permessage-deflate; server_max_window_bits=16",
      "permessage-deflate; server_max_window_bits", "permessage-deflate; server_max_window_bits=09",
      "permessage-deflate; client_max_window_bits=0", "permessage-deflate; unknown",
      "permessage-deflate; server_no_context_takeover=1",
      "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
      "x-webkit-deflate-frame", "permessage-deflate=1"} do
      assert.is_nil(answer(offer), offer)
      assert.is_string(answer(offer .. ", permessage-deflate"), offer)
    end
  end)

  it("takes no header that is not well formed", function()
    for _, header in ipairs {"", ",", "permessage-deflate;", "permessage-deflate; =1",
      "permessage-deflate; a=", 'permessage-deflate; a="b',
      "permessage-deflate permessage-deflate"} do
      assert.is_nil(answer(header), header)
    end
  end)
end)
