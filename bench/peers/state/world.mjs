// What moves in `make bench-state`: the same as in world.lua, number by number.

const BORDER = 1000

// Numbers from 0 to 1, of Park and Miller's generator.
function random (seed) {
  return () => {
    seed = seed * 16807 % 2147483647
    return seed / 2147483647
  }
}

/** Puts `count` entities into place; `put(id, fields)` returns what holds their fields. */
export function fill (count, put) {
  const next = random(count)
  const list = []
  for (let id = 1; id <= count; id++) {
    const [x, y] = [BORDER * next(), BORDER * next()]
    const [vx, vy] = [8 * next() - 4, 8 * next() - 4]
    list.push({at: put(id, {name: `player ${id}`, x, y, hp: 100}), vx, vy})
  }
  return list
}

/** Moves all by a tick; one in twenty is hit, too. */
export function move (list, tick) {
  for (let id = 1; id <= list.length; id++) {
    const it = list[id - 1]
    const at = it.at
    let [x, y] = [at.x + it.vx, at.y + it.vy]
    if (x < 0 || x > BORDER) {
      it.vx = -it.vx
      x = at.x
    }
    if (y < 0 || y > BORDER) {
      it.vy = -it.vy
      y = at.y
    }
    at.x = x
    at.y = y
    if ((id + tick) % 20 === 0) at.hp = (at.hp + 200) % 201
  }
}
