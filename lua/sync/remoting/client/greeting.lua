--- What is said on a connection of a client of `sync.connect` before its session goes on or
-- begins: the token is shown where the client has one, then the session of the connection before
-- is asked for. One greeting serves one connection, and ends by `client:resume` or
-- `client:beginSession`, or with the connection.
-- @classmod sync.remoting.client.greeting

local loop = require "sync.loop"
local task = require "sync.task"
local try = require "sync.remoting.try"

local Greeting = {}
Greeting.__index = Greeting

-- May wait.
local function showToken(self)
  local client, link, token, ok = self.client, self.link, self.client.settings.token, true
  if type(token) == "function" then ok, token = try("token", nil, token) end
  if client.link ~= link then return end
  if not ok or type(token) ~= "string" then return client:drop("there is no token") end
  link:send(link._wire.request("auth", "sync.auth", token))
end

local function askForSession(self)
  local client, link = self.client, self.link
  if not client.token then return client:beginSession {} end
  self.early, self.bytes = {}, 0
  link:send(link._wire.request("resume", "sync.resume", client.token, client.count))
end

--- Begins. The client has this connection.
-- @tparam sync.Client client
-- @tparam table link
function Greeting.begin(client, link)
  local self = setmetatable({client = client, link = link}, Greeting)
  client.greeting = self
  local hasToken = client.settings.token ~= ""
  if hasToken or client.token then
    self.timer = loop.startTimer(client.settings.connectTimeout, 0, function()
      client:drop("no answer to sync.auth or sync.resume")
    end)
  end
  if not hasToken then return askForSession(self) end
  task.spawn(showToken, self)
end

--- Ends, whatever has come of it.
function Greeting:stop()
  if self.timer then loop.stopTimer(self.timer) end
end

-- The server says whether it takes the token; nothing else comes before.
local function welcome(self, message)
  local value = message.value
  if not message.ok or type(value) ~= "table" or value.id ~= "auth" then return end
  if value.error == nil then return askForSession(self) end
  local why = "the token was refused"
  if type(value.error) == "table" then why = why .. ": " .. tostring(value.error.message) end
  self.client:refused(why)
end

local function isAnswer(message)
  local value = message.value
  return message.ok and type(value) == "table" and value.id == "resume" and not value.method
end

--- A message has come. What comes before the answer to sync.resume is of a session that may not
-- be ours.
-- @tparam table message
-- @tparam number bytes
function Greeting:take(message, bytes)
  local client, early = self.client, self.early
  if not early then return welcome(self, message) end
  if isAnswer(message) then
    local result = message.value.result
    if type(result) == "table" and result.resumed == true then return client:resume(result) end
    return client:beginSession(early)
  end
  early[#early + 1] = message
  self.bytes = self.bytes + bytes
  if self.bytes > client.settings.maxMessage then client:drop("no answer to sync.resume") end
end

return Greeting
