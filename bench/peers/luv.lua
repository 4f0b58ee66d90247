-- The echo and the broadcast server on luv, libuv for Lua.
--
--     luajit luv.lua echo|broadcast PORT

local uv = require "luv"

local mode, port = ...
local clients = {}

local function leave(client)
  clients[client] = nil
  if not client:is_closing() then client:close() end
end

-- Most writes fit into the kernel's buffer; the rest of one that doesn't waits in libuv.
local function send(client, bytes)
  local written, _, code = client:try_write(bytes)
  if written == #bytes then return end
  if not written and code ~= "EAGAIN" then return leave(client) end
  client:write(written and bytes:sub(written + 1) or bytes)
end

local answer = {
  echo = send,
  broadcast = function(_, bytes)
    for client in pairs(clients) do send(client, bytes) end
  end,
}
local respond = assert(answer[mode], "usage: luv.lua echo|broadcast PORT")

local listener = uv.new_tcp()
assert(listener:bind("127.0.0.1", tonumber(port)))
assert(listener:listen(4096, function(failure)
  assert(not failure, failure)
  local client = uv.new_tcp()
  listener:accept(client)
  client:nodelay(true)
  clients[client] = true
  local partial = ""
  client:read_start(function(err, chunk)
    if err or not chunk then return leave(client) end
    local bytes = partial == "" and chunk or partial .. chunk
    local answers, count, start = {}, 0, 1
    local nul = bytes:find("\0", 1, true)
    while nul do
      local message = bytes:sub(start, nul - 1)
      answers[count + 1], answers[count + 2] = message, "\0"
      count, start = count + 2, nul + 1
      nul = bytes:find("\0", start, true)
    end
    partial = start == 1 and bytes or bytes:sub(start)
    if count > 0 then respond(client, table.concat(answers)) end
  end)
end))
print("ready " .. port)
io.stdout:flush()
uv.run()
