-- The best score of each account. All of it waits.

local sync = require "sync"

local Scores = sync.Class:extend("Scores")

function Scores:top(count)
  return self.db:rows([[select account.shown as name, score.points as points
    from score join account on account.name = score.name
    order by score.points desc, score.name limit ?]], count)
end

-- Keeps what is more than the account had. Returns whether that was so, and whether nobody had as
-- many before.
function Scores:add(name, points)
  return self.db:transaction(function(tx)
    local best = tx:value "select max(points) from score"
    local own = tx:value("select points from score where name = ?", name)
    if own and own >= points then return false, false end
    if own then
      tx:run("update score set points = ? where name = ?", points, name)
    else
      tx:run("insert into score (name, points) values (?, ?)", name, points)
    end
    return true, not best or points > best
  end)
end

return Scores
