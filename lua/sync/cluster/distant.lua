--- Clients of other nodes, as `sync.client` gives them.
-- @classmod sync.cluster.distant

local core = require "sync.core"
local event = require "sync.cluster.event"
local frame = require "sync.cluster.frame"
local json = require "sync.remoting.json"
local latest = require "sync.remoting.latest"
local loop = require "sync.loop"

local Distant = {}
Distant.__index = Distant

local SEND, FIRE, CLOSE = 1, 2, 3 -- what a frame asks for
local SEND_AS = {text = 4, binary = 5}

--- Makes one.
-- @tparam sync.cluster cluster
-- @tparam number id
-- @tparam number node
function Distant.new(cluster, id, node)
  return setmetatable({cluster = cluster, id = id, node = node}, Distant)
end

local function direct(self, verb, text)
  local peer = self.cluster.nodes[self.node]
  if not peer or not peer.alive then return false, "closed" end
  local bytes = frame.direct(verb, self.id, text)
  if self.cluster:publish(peer.stream, frame.DIRECT, bytes) then return true end
  return false, "dropped"
end

--- Sends a message.
-- @tparam string data
-- @tparam[opt] string kind "text" or "binary", as of a client here
-- @treturn boolean true: it is on its way; or false and "closed" or "dropped"
function Distant:send(data, kind)
  if type(data) ~= "string" then
    error("send(data): data must be a string, not " .. type(data), 2)
  end
  core.kind(kind) -- raises
  return direct(self, kind and SEND_AS[kind] or SEND, data)
end

local function fire(self, how, name, ...)
  if type(name) ~= "string" then
    error(("fire(name, …): the name must be a string, not %s"):format(type(name)), 2)
  end
  local text = json.request(nil, name, ...)
  local body, flags = event.write(how, text and json.isPlain() and text or nil, name, ...)
  if not body then error(("fire(%q): %s"):format(name, flags), 2) end
  return direct(self, FIRE, string.char(flags) .. body)
end

--- Fires an event at the client, by options as for one that is here.
-- @treturn boolean,string as `send`
function Distant:fire(name, ...)
  if type(name) == "table" then return fire(self, latest.options(name, 2), ...) end
  return fire(self, nil, name, ...)
end

--- Closes the client.
-- @tparam[opt] string reason
function Distant:close(reason)
  direct(self, CLOSE, reason or "")
end

function Distant:__tostring()
  return ("client %d of node %d"):format(self.id, self.node)
end

local ACTS = {
  [SEND] = function(client, text) client:send(text) end,
  [SEND_AS.text] = function(client, text) client:send(text, "text") end,
  [SEND_AS.binary] = function(client, text) client:send(text, "binary") end,
  [FIRE] = function(client, body)
    local text, how, list = event.read(body, 2, body:byte())
    client:deliverEvent(text, how, list)
  end,
  [CLOSE] = function(client, text) client:close(text ~= "" and text or nil) end,
}

--- Does what a frame of another node asks for, to a client of this one.
-- @tparam string bytes
function Distant.receive(bytes)
  local verb, id, text = frame.readDirect(bytes)
  local act, client = ACTS[verb], id and loop.find(id)
  if act and client then act(client, text) end
end

return Distant
