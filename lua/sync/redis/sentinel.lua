--- Asks Redis Sentinel where a master is: one Sentinel after the other, first the one that knew
-- it last.
-- @classmod sync.redis.sentinel

local Class = require "sync.class"
local Connector = require "sync.connector"
local Protocol = require "sync.protocol"
local hiredis = require "sync.redis.hiredis"
local loop = require "sync.loop"

local SECONDS = 2 -- that one Sentinel has, to connect and to answer

local Search = Class:extend("RedisSearch")

-- A connection to a Sentinel.
local Link = Protocol:extend("RedisSentinel")
Link.isLink = true

function Link:begin(connector)
  self.search = connector.attempt and connector.owner
  connector:giveUp()
end

function Link:onConnect()
  local search = self.search
  if not search then return self:abort() end
  search.link, self.reader = self, hiredis.reader()
  local password = search.password
  self.answers = password and 2 or 1 -- that are to come
  self:send((password and hiredis.command("AUTH", password) or "") ..
    hiredis.command("SENTINEL", "get-master-addr-by-name", search.master))
end

-- What is wrong with the last answer, or nil.
local function problemOf(kind, value)
  if kind == "error" or kind == "broken" then return value end
  if value == nil then return "it does not know the master" end
  if type(value) ~= "table" or type(value[1]) ~= "string" or not tonumber(value[2]) then
    return "its answer is no address"
  end
end

function Link:onData(bytes)
  local search = self.search
  if not search then return end
  local fed, wrong = self.reader:feed(bytes)
  if not fed then return search:failed(wrong) end
  for kind, value in function() return self.reader:next() end do
    self.answers = self.answers - 1
    if kind == "broken" or self.answers == 0 then
      local problem = problemOf(kind, value)
      if problem then return search:failed(problem) end
      return search:found(value[1], tonumber(value[2]))
    end
  end
end

function Link:onClose()
  if self.search then self.search:failed("it has closed the connection") end
  if self.reader then self.reader:close() end
end

--- Makes a search.
-- @tparam table servers a list of `{host, port}`
-- @tparam string master its name
-- @tparam[opt] string password of the Sentinels
-- @treturn table|nil or nil and a message
function Search.open(servers, master, password)
  local connector, problem = Connector.new(Link, {}, true)
  if not connector then return nil, problem end
  local self = Search:new {connector = connector, servers = servers, master = master,
    password = password or false, link = false, timer = false, done = false, at = 0}
  connector.owner = self
  return self
end

-- Leaves the Sentinel that is being asked.
function Search:leave()
  self.connector:giveUp()
  if self.timer then loop.stopTimer(self.timer) end
  local link = self.link
  self.link, self.timer = false, false
  if link then
    link.search = false
    link:abort()
  end
end

function Search:askNext()
  self.at = self.at + 1
  local server = self.servers[self.at]
  local function failed(problem) self:failed(problem) end
  self.timer = loop.startTimer(SECONDS, 0, function()
    self.timer = false
    self:failed(("no answer in %d s"):format(SECONDS))
  end)
  self.connector:connect(server[1], server[2], SECONDS, failed)
end

function Search:failed(problem)
  if not self.done then return end
  self:leave()
  if self.at < #self.servers then return self:askNext() end
  local done, server = self.done, self.servers[self.at]
  self.done = false
  done(nil, ("no Sentinel tells where %q is; %s:%d: %s"):format(self.master, server[1], server[2],
    problem))
end

function Search:found(host, port)
  local done = self.done
  self:giveUp()
  table.insert(self.servers, 1, table.remove(self.servers, self.at))
  if done then done(host, port) end
end

--- Begins to ask.
-- @tparam function done gets host and port, or nil and a message; called later
function Search:begin(done)
  self.done, self.at = done, 0
  self:askNext()
end

--- Asks no more.
function Search:giveUp()
  self.done = false
  self:leave()
end

--- Ends it.
function Search:close()
  self:giveUp()
  self.connector:close()
end

return Search
