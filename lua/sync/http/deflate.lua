--- What is agreed on for permessage-deflate (RFC 7692 section 7.1).
-- @module sync.http.deflate

local deflate = {}

-- A header's list: elements separated by commas, each a name with parameters behind
-- semicolons; values may be quoted. Returns a list of lists of {name, value or true}, the
-- first of which is the extension's own, or nil when the header isn't well formed.
local function parse(header)
  local offers, offer, position = {}, nil, 1
  while true do
    local name, after = header:match("^[ \t]*([%w!#$%%&'*+.^_`|~-]+)[ \t]*()", position)
    if not name then return nil end
    local value = true
    if header:sub(after, after) == "=" then
      local quoted, token, behind
      quoted, behind = header:match('^=[ \t]*"([%w!#$%%&\'*+.^_`|~-]+)"[ \t]*()', after)
      if not quoted then
        token, behind = header:match("^=[ \t]*([%w!#$%%&'*+.^_`|~-]+)[ \t]*()", after)
      end
      value, after = quoted or token, behind
      if not value then return nil end
    end
    if not offer then
      offer = {}
      offers[#offers + 1] = offer
    end
    offer[#offer + 1] = {name:lower(), value}
    local separator = header:sub(after, after)
    if separator == "" then return offers end
    if separator == "," then offer = nil elseif separator ~= ";" then return nil end
    position = after + 1
  end
end

local function windowBits(value)
  local bits = type(value) == "string" and value:match("^[89]$") or
    type(value) == "string" and value:match("^1[0-5]$")
  return tonumber(bits)
end

-- The parameters of an offer by name, or nil when the offer must be declined.
local function parameters(offer)
  local given = {}
  for i = 2, #offer do
    local name, value = offer[i][1], offer[i][2]
    if given[name] ~= nil then return nil end
    if name == "server_no_context_takeover" or name == "client_no_context_takeover" then
      if value ~= true then return nil end
    elseif name == "server_max_window_bits" then
      value = windowBits(value)
      if not value then return nil end
    elseif name == "client_max_window_bits" then
      if value ~= true then
        value = windowBits(value)
        if not value then return nil end
      end
    else
      return nil
    end
    given[name] = value
  end
  return given
end

--- Chooses among a client's offers.
-- @tparam string header Sec-WebSocket-Extensions
-- @tparam table settings `sendTakeover` and `receiveTakeover` of the protocol
-- @treturn string|nil the response's header, or nil when nothing was acceptable
-- @treturn table|nil `sendBits`, `receiveBits`, `sendTakeover`, `receiveTakeover`
function deflate.negotiate(header, settings)
  for _, offer in ipairs(parse(header) or {}) do
    local given = offer[1][1] == "permessage-deflate" and offer[1][2] == true and
      parameters(offer)
    -- zlib makes no raw stream with a window of 8 bits, so such an offer is declined.
    if given and given.server_max_window_bits ~= 8 then
      local agreed = {
        sendTakeover = settings.sendTakeover and not given.server_no_context_takeover,
        receiveTakeover = settings.receiveTakeover and not given.client_no_context_takeover,
        sendBits = given.server_max_window_bits or 15,
        receiveBits = 15,
      }
      local answer = {"permessage-deflate"}
      if not agreed.sendTakeover then answer[#answer + 1] = "server_no_context_takeover" end
      if not agreed.receiveTakeover then answer[#answer + 1] = "client_no_context_takeover" end
      if given.server_max_window_bits then
        answer[#answer + 1] = "server_max_window_bits=" .. given.server_max_window_bits
      end
      local most = given.client_max_window_bits
      if type(most) == "number" and most > 8 then
        -- Without takeover a window is one of all clients, which holds smaller ones.
        if agreed.receiveTakeover then agreed.receiveBits = most end
        answer[#answer + 1] = "client_max_window_bits=" .. most
      end
      return table.concat(answer, "; "), agreed
    end
  end
  return nil
end

return deflate
