--- The line between a room that lives here and a client that is connected here.
--
-- A room reaches its members by lines: `enter`, `begin`, `close`, `fire`, `call`. A client has
-- places in rooms, which are told what it does: `invoke`, `input`, `quit`, `renew`, `away`,
-- `back`, `part`. This is both.
-- @classmod sync.rooms.here

local Class = require "sync.class"
local Membership = require "sync.rooms.membership"
local There = require "sync.rooms.there"
local core = require "sync.core"
local fault = require "sync.remoting.fault"
local json = require "sync.remoting.json"
local remote = require "sync.rooms.remote"

local C = core.C

local FORMS = {binary = C.SYNC_FORM_BINARY, json = C.SYNC_FORM_JSON, amf3 = C.SYNC_FORM_AMF3}

local Here = Class:extend("Here")

--- The form in which a client gets patches: what it asks for, or that of its wire.
-- @treturn string|nil or nil and a fault
function Here.form(client, wanted)
  local isJson = client._wire == json
  local form = wanted == nil and (isJson and "json" or "amf3") or wanted
  local fits = form == "json" and isJson or form == "amf3" and not isJson or
    form == "binary" and isJson and client.transport == "websocket"
  if fits then return form end
  return nil, fault.new(fault.ARGUMENTS,
    ('form must be one that the connection can carry: "json"%s, or on AMF3 "amf3"')
      :format(client.transport == "websocket" and ' or "binary"' or ""))
end

-- On AMF3 a patch is within a message.
local function envelope(home)
  if home.isEnveloped then return end
  home.isEnveloped = true
  local head, text = require "sync.flash.wire".around("sync.patch")
  C.sync_state_envelope(home.state.handle, text, head, #text)
end

--- Makes one.
-- @tparam sync.Remote client
-- @tparam Home home
-- @tparam string form
function Here.create(client, home, form)
  if form == "amf3" then envelope(home) end
  return Here:new {client = client, home = home, form = form, number = home.number,
    member = false, membership = Membership.of(client)}
end

--- What is known of the client, by name.
function Here:describe()
  local client = self.client
  local told = {user = client.user, address = client.address}
  for _, name in ipairs(client.resumeFields or {}) do told[name] = client[name] end
  return told
end

-- For rooms.

--- Whether the client is in the room, or on its way in.
function Here:isIn()
  return self.membership:has(self.number)
end

--- The client is on its way in.
function Here:enter(entry, member)
  local code = C.sync_state_join(self.home.state.handle, FORMS[self.form])
  if code < 0 then error("sync_state_join: " .. core.problem(code), 0) end
  member.number, self.member = code, member
  self.membership:enter(self.number, entry)
end

--- It is in.
function Here:begin()
  local client, home = self.client, self.home
  self.membership:add(self.number, self)
  if client.resumeTime then home.clients:remember() end
  if client._wire ~= json then home.clients.mixed = true end
  home.clients.kind = client.clients.kind
  if client.slot == 0 then
    home.clients:remember(client)
    return false
  end
  home.clients:add(client)
  C.sync_state_connect(home.state.handle, self.member.number, client.slot)
  return true
end

--- It is in no more, or not let in.
-- @tparam sync.Member member
-- @tparam string|boolean reason that the client is told; false: none
function Here:close(member, reason)
  C.sync_state_leave(self.home.state.handle, member.number)
  self.home.clients:remove(self.client)
  self.membership:remove(self.number)
  if reason then self.client:fire("sync.left", self.number, reason) end
end

function Here:fire(name, ...)
  return self.client:fire(name, ...)
end

function Here:call(name, ...)
  return self.client:call(name, ...)
end

-- For the client.

--- Calls a function of the room.
-- @treturn boolean,any as Rpc.invoke
function Here:invoke(name, params)
  if not self.home:goesOn() then return false, remote.paused() end
  return self.member:invoke(name, params)
end

--- An input was taken.
function Here:input(number)
  local member = self.member
  if member.number ~= 0 and self.home:goesOn() then
    member.lastInput = math.max(member.lastInput or 0, number)
    C.sync_state_input(self.home.state.handle, member.number, number)
  end
end

--- The client wants a snapshot.
function Here:renew()
  C.sync_state_renew(self.home.state.handle, self.member.number)
end

--- It has lost its connection, and may come back.
function Here:away()
  local home = self.home
  C.sync_state_connect(home.state.handle, self.member.number, 0)
  home.clients:remove(self.client)
  home.clients:remember(self.client)
  home:away(self.member)
end

--- It has no connection any more.
function Here:part()
  C.sync_state_connect(self.home.state.handle, self.member.number, 0)
  self.home.clients:remove(self.client)
end

--- It is back: the room sends a snapshot.
function Here:back()
  local home = self.home
  home.clients:forget(self.client)
  home.clients:add(self.client)
  C.sync_state_connect(home.state.handle, self.member.number, self.client.slot)
  home:back(self.member)
end

--- The client goes to another node: its member stays.
function Here:pack()
  local home, member = self.home, self.member
  home.clients:forget(self.client)
  local line = There.of(member, home, self:describe())
  return {id = home.room.id, node = line.node, class = home.class.className, from = line.node,
    key = line.key, member = member.id, form = self.form, old = self.number}
end

-- The member of a line to another node is this client's from now on.
local function seat(self, line)
  local client, home, member = self.client, self.home, line:release()
  local handle = home.state.handle
  self.member, member.line = member, self
  home.state:setElsewhere(member.number, nil)
  C.sync_state_read(handle, member.number, FORMS[self.form])
  home.clients:remember()
  if client.slot == 0 then return home.clients:remember(client) end
  home.clients:add(client)
  C.sync_state_connect(handle, member.number, client.slot)
  home:back(member)
end

--- A client has come from another node, where it was in a room that lives here.
-- @tparam sync.Remote client
-- @tparam table packed of `pack`
-- @tparam Home home
-- @treturn boolean false: its member has gone meanwhile
function Here.adopt(client, packed, home)
  local line = home.lines[There.nameOf(packed.from, packed.key)]
  if not line or not line.hasBegun then return false end
  local self = Here.create(client, home, packed.form)
  self.membership:adopt(packed.old, self.number, self)
  seat(self, line)
  return true
end

--- A client has come back whose node has died: see returning.lua.
-- @tparam There line of its member
-- @treturn table what it's told
function Here:comeBack(line)
  self.membership:enter(self.number, self)
  self.membership:add(self.number, self)
  seat(self, line)
  return self.home:describe(self.member)
end

--- It leaves, or is gone.
function Here:quit(reason)
  self.home:remove(self.member, reason)
end

return Here
