--- What moves in `make bench-state`: the same in world.mjs, number by number.

local world = {}

local BORDER = 1000

-- Numbers from 0 to 1, of Park and Miller's generator.
local function random(seed)
  return function()
    seed = seed * 16807 % 2147483647
    return seed / 2147483647
  end
end

--- Puts `count` entities into place; `put(id, fields)` returns what holds their fields.
function world.fill(count, put)
  local next, list = random(count), {}
  for id = 1, count do
    local x, y, vx, vy = BORDER * next(), BORDER * next(), 8 * next() - 4, 8 * next() - 4
    list[id] = {at = put(id, {name = "player " .. id, x = x, y = y, hp = 100}), vx = vx, vy = vy}
  end
  return list
end

--- Moves all by a tick; one in twenty is hit, too.
function world.move(list, tick)
  for id = 1, #list do
    local it = list[id]
    local at = it.at
    local x, y = at.x + it.vx, at.y + it.vy
    if x < 0 or x > BORDER then it.vx, x = -it.vx, at.x end
    if y < 0 or y > BORDER then it.vy, y = -it.vy, at.y end
    at.x, at.y = x, y
    if (id + tick) % 20 == 0 then at.hp = (at.hp + 200) % 201 end
  end
end

return world
