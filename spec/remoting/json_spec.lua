local json = require "sync.remoting.json"

describe("JSON on the wire", function()
  it("can be written again when it could be read", function()
    for _, text in ipairs {"1e308", "-1e308", "1e-999", "0", "-0", '"\\u0000"', '"é🎉"', "[]", "{}",
      '{"":1}', '{"1":1,"2":2}', "[null,1]", "1e309", "-1e999", "[[1e999]]", '{"a":1e400}', "NaN",
      "1" .. ("0"):rep(308), "1" .. ("0"):rep(309), ("["):rep(64) .. ("]"):rep(64),
      ("["):rep(65) .. ("]"):rep(65), '{"a":' .. ("["):rep(64) .. ("]"):rep(64) .. "}"} do
      local ok, value = json.decode(text, 1000)
      if ok then assert.is_string((json.encode(value)), text) end
    end
  end)
end)
