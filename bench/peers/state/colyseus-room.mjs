// The same arena on @colyseus/core and @colyseus/ws-transport:
//
//     NODE_PATH=FOLDER/node_modules node colyseus-room.mjs PORT
//
// Who is near is worked out by comparing all pairs, which takes less time than a grid would at
// this size; to within 1.1 times the distance, as SYNC does.

import {createRequire} from 'node:module'
import path from 'node:path'
import {fill, move} from './world.mjs'

const require = createRequire(path.resolve(process.env.NODE_PATH, 'x.js'))
const {Encoder, MapSchema, Schema, StateView, defineTypes, view} = require('@colyseus/schema')
const {Room, Server} = require('@colyseus/core')
const {WebSocketTransport} = require('@colyseus/ws-transport')

const [COUNT, RADIUS] = [200, 300]
Encoder.BUFFER_SIZE = 1024 * 1024

class Player extends Schema {}
defineTypes(Player, {name: 'string', x: 'float32', y: 'float32', hp: 'uint8'})

class State extends Schema {
  constructor () {
    super()
    this.players = new MapSchema()
  }
}
defineTypes(State, {players: {map: Player}})
view()(State.prototype, 'players')

class Arena extends Room {
  onCreate () {
    this.state = new State()
    this.maxClients = COUNT
    this.patchRate = null // behind each tick, as SYNC does
    this.tick = 0
    this.list = fill(COUNT, (id, fields) => {
      const player = new Player()
      Object.assign(player, fields)
      this.state.players.set(String(id), player)
      return player
    })
    this.setSimulationInterval(() => {
      move(this.list, ++this.tick)
      this.look()
      this.broadcastPatch()
    }, 50)
  }

  onJoin (client) {
    client.view = new StateView()
    client.own = this.list[this.clients.indexOf(client)].at
    client.seen = new Set()
  }

  look () {
    for (const {view, own, seen} of this.clients) {
      if (!own) continue
      for (const {at} of this.list) {
        const [dx, dy] = [at.x - own.x, at.y - own.y]
        const isSeen = seen.has(at)
        const most = isSeen ? 1.1 * RADIUS : RADIUS
        const isNear = dx * dx + dy * dy <= most * most
        if (isNear === isSeen) continue
        if (isNear) {
          view.add(at)
          seen.add(at)
        } else {
          view.remove(at)
          seen.delete(at)
        }
      }
    }
  }
}

const port = Number(process.argv[2])
const server = new Server({transport: new WebSocketTransport(), greet: false})
server.define('Arena', Arena)
await server.listen(port, '127.0.0.1')
console.log(`ready ${port}`)
