-- What clients see: routes to sign up and log in, and a game for those who have a token.

local Accounts = require "accounts"
local Scores = require "scores"
local sync = require "sync"

local HOUR = 3600
local TOP = 10          -- rows of the table
local MOST_POINTS = 200 -- nobody taps more often in five seconds
local TRIES, MINUTE = 10, 60 -- to log in or sign up, of one address
local MOST_ADDRESSES = 10000

-- `given` has the database `db`, the `secret` of tokens and perhaps the URL of a `hook`.
return function(given)
  local accounts, scores = Accounts:new {db = given.db}, Scores:new {db = given.db}
  local signing = {algorithm = "HS256", key = given.secret, expires = HOUR}

  local Game = sync.Remote:extend("Game")
  Game.resumeTime = 30
  Game.auth = sync.jwt.auth {algorithm = "HS256", key = given.secret,
    user = function(claims) return accounts:find(claims) end}

  -- Passwords are guessed by trying many. All addresses begin anew together: that is a bound.
  local tries, count = {}, 0
  sync.every(MINUTE, function() tries, count = {}, 0 end)

  local function mayTry(address)
    if not tries[address] then
      if count >= MOST_ADDRESSES then return false end
      count = count + 1
    end
    tries[address] = (tries[address] or 0) + 1
    return tries[address] <= TRIES
  end

  local function enter(how)
    return function(request)
      if not mayTry(request.address) then
        return 429, {problem = "too many tries; wait a minute"}, {["Retry-After"] = "60"}
      end
      local said = request.json
      if type(said) ~= "table" then return 400, {problem = "name and password, as JSON"} end
      local account, status, problem = accounts[how](accounts, said.name, said.password)
      if not account then return status, {problem = problem} end
      local token = assert(sync.jwt.sign({sub = account.sub}, signing))
      return 200, {name = account.name, token = token}, {["Cache-Control"] = "no-store"}
    end
  end

  Game.routes["POST /signup"] = enter "signUp"
  Game.routes["POST /login"] = enter "logIn"
  Game.routes["GET /scores"] = function() return {scores = sync.list(scores:top(TOP))} end

  function Game.remote:whoAmI() return self.user.name end

  Game.remote.top = sync.waits(function() return sync.list(scores:top(TOP)) end)

  -- A token that lasts another hour, for one that ends soon.
  function Game.remote:token()
    return assert(sync.jwt.sign({sub = self.user.sub}, signing))
  end

  Game.remote.score = sync.method("points: integer", {waits = true, rate = 1, burst = 3},
    function(self, points)
      if points < 0 or points > MOST_POINTS then
        error(sync.fault(1, "nobody has so many points"))
      end
      local isBetter, isBest = scores:add(self.user.sub, points)
      if isBetter then self.clients:fire("onScores", sync.list(scores:top(TOP))) end
      if isBest and given.hook and given.hook ~= "" then
        sync.http.send {url = given.hook, json = {name = self.user.name, points = points}}
      end
      return {better = isBetter, best = isBest}
    end)

  return Game
end
