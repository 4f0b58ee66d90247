--- Requests of a class with `auth` that carry calls: their senders show a token, as clients do.
-- @module sync.http.known

local auth = require "sync.auth"
local failure = require "sync.failure"
local log = require "sync.log"
local task = require "sync.task"
local waits = require "sync.waits"

local known = {}

local Asking = task.kind {}

function Asking:leave()
  if self.hasWaited then return end
  self.hasWaited = true
  waits.count(self.class, 1)
  self.exchange:wait()
end

function Asking:ended(ok, user, why, status)
  local exchange, class = self.exchange, self.class
  local request = exchange.request
  if self.hasWaited then
    waits.count(class, -1)
    if not exchange:goOn() then return end
  end
  if not ok then
    log.limited("error", "auth", ("error in %s.auth: %s"):format(class.className,
      failure.describe(user.raised)), {address = request.address, traceback = user.traceback})
    return exchange:say(getmetatable(user.raised) == task.Failure and 503 or 500)
  end
  if not user then
    auth.refused(class, why, request.address, exchange.slot)
    return exchange:say(status, why, status == 401 and {["WWW-Authenticate"] = "Bearer"} or nil)
  end
  request.user = user
  self.answer(exchange)
end

--- Lets a function answer an exchange when it's known whose it is: `request.user`.
-- @tparam sync.http.exchange exchange
-- @tparam function answer
function known.answer(exchange, answer)
  local class, request = exchange.listener.class, exchange.request
  if not class.auth then return answer(exchange) end
  if waits.isFull(class) then
    return exchange:say(503, "too many requests wait; try again later", {["Retry-After"] = "1"})
  end
  task.start(Asking, {exchange = exchange, class = class, answer = answer,
    limit = class.waitTimeout or nil}, auth.ask, class, auth.tokenOf(request), request)
end

return known
