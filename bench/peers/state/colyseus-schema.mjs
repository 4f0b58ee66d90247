// The same as core.lua with @colyseus/schema, whose views are told what SYNC's members see:
//
//     NODE_PATH=FOLDER/node_modules node colyseus-schema.mjs COUNT all|near TICKS WARM_UP DUMP [STEP]
//
// DUMP is what core.lua has written of the same. It writes, by tick: `encode`, seconds of CPU in
// encoding for all members; `views`, in telling views who came into sight and who went; `bytes`;
// `seen`, entities in sight of a member; `decode` and `syncDecode`, what all clients together
// take to decode, in seconds; and `compared`, how many entities were the same at both clients,
// to within half a STEP. It fails when one isn't.

import {createRequire} from 'node:module'
import path from 'node:path'
import {closeSync, openSync, readSync} from 'node:fs'
import {State, readHead} from '../../../clients/js/sync-state.js'
import {fill, move} from './world.mjs'

const [count, sees, ticks, warmUp, file, step] = process.argv.slice(2)
  .map(word => Number.isNaN(Number(word)) ? word : Number(word))
const require = createRequire(path.resolve(process.env.NODE_PATH, 'x.js'))
const {Decoder, Encoder, MapSchema, Schema, StateView, defineTypes, view} =
  require('@colyseus/schema')

Encoder.BUFFER_SIZE = 8 * 1024 * 1024

class Player extends Schema {}
defineTypes(Player, {name: 'string', x: 'float32', y: 'float32', hp: 'uint8'})

class Arena extends Schema {
  constructor () {
    super()
    this.players = new MapSchema()
  }
}
defineTypes(Arena, {players: {map: Player}})
if (sees === 'near') view()(Arena.prototype, 'players')

const seconds = usage => (usage.user + usage.system) / 1e6

function timed (sums, what, fn) {
  const from = process.cpuUsage()
  fn()
  sums[what] += seconds(process.cpuUsage(from))
}

// Core.lua's file: texts behind their lengths.
class Dump {
  #file = openSync(file)
  #buffer = Buffer.allocUnsafe(1 << 20)

  next () {
    readSync(this.#file, this.#buffer, 0, 4)
    const length = this.#buffer.readUInt32LE(0)
    if (length > this.#buffer.length) this.#buffer = Buffer.allocUnsafe(length)
    readSync(this.#file, this.#buffer, 0, length)
    return new Uint8Array(this.#buffer.subarray(0, length))
  }

  close () { closeSync(this.#file) }
}

const dump = new Dump()
const joined = JSON.parse(Buffer.from(dump.next()))
const members = Array.from({length: count}, () =>
  ({sync: new State(joined.state), arena: new Arena(), view: new StateView()}))
for (const member of members) member.decoder = new Decoder(member.arena)

const state = new Arena()
const encoder = new Encoder(state)
const players = new Map()
const list = fill(count, (id, fields) => {
  const player = new Player()
  Object.assign(player, fields)
  state.players.set(String(id), player)
  players.set(id, player)
  return player
})

// Returns what SYNC's members were told in this tick.
function decodeSync (sums) {
  const patches = members.map(() => dump.next())
  const told = []
  timed(sums, 'syncDecode', () => {
    members.forEach(({sync}, i) => {
      told.push(patches[i].length > 0 ? sync.apply(readHead(patches[i])) : [])
    })
  })
  return told
}

function look (told) {
  members.forEach(({view}, i) => {
    for (const {what, entity, table} of told[i]) {
      if (!table.keyType) continue
      if (what === 'add') view.add(players.get(entity.key))
      else if (what === 'remove') view.remove(players.get(entity.key))
    }
  })
}

// As @colyseus/core's SchemaSerializer does.
function encode () {
  const it = {offset: 0}
  const shared = encoder.encode(it)
  const sharedOffset = it.offset
  const patches = members.map(({view}) =>
    sees === 'near' ? encoder.encodeView(view, sharedOffset, it) : shared)
  return patches
}

function firstOf (member) {
  const it = {offset: 0}
  const all = encoder.encodeAll(it)
  return sees === 'near' ? encoder.encodeAllView(member.view, it.offset, it) : all
}

const near = (a, b) => Math.abs(a - b) <= (step ?? 0) / 2 + 1e-9 * Math.abs(b)

function compare () {
  let compared = 0
  for (const {sync, arena} of members) {
    const {keys} = sync.tables[1]
    for (const [key, {fields}] of keys) {
      const other = arena.players.get(String(key))
      const isSame = other && fields.name === other.name && fields.hp === other.hp &&
        near(fields.x, other.x) && near(fields.y, other.y)
      if (!isSame) throw new Error(`${key} is ${JSON.stringify(fields)} and ${JSON.stringify(other)}`)
      compared++
    }
    if (arena.players.size !== keys.size) throw new Error('they see others')
  }
  return compared
}

const sums = {encode: 0, views: 0, decode: 0, syncDecode: 0}
let [bytes, seen, compared] = [0, 0, 0]
for (let tick = 1; tick <= warmUp + ticks; tick++) {
  if (tick === warmUp + 1) for (const what of Object.keys(sums)) sums[what] = 0
  move(list, tick)
  const told = decodeSync(sums)
  if (sees === 'near') timed(sums, 'views', () => look(told))
  let patches
  if (tick === 1) {
    patches = members.map(member => firstOf(member).slice())
    encoder.discardChanges()
    for (const {view} of members) view.changes.clear()
  } else {
    timed(sums, 'encode', () => { patches = encode() })
    // What was encoded is a part of a buffer that is written again.
    patches = patches.map(patch => patch.slice())
    timed(sums, 'encode', () => encoder.discardChanges())
  }
  timed(sums, 'decode', () => members.forEach(({decoder}, i) => {
    if (patches[i].length > 0) decoder.decode(patches[i])
  }))
  if (tick > warmUp) {
    for (const patch of patches) bytes += patch.length
    for (const {sync} of members) seen += sync.tables[1].keys.size
  }
  if (tick % 10 === 0 || tick === warmUp + ticks) compared += compare()
}
dump.close()
const each = Object.fromEntries(Object.entries(sums).map(([what, sum]) => [what, sum / ticks]))
console.log(JSON.stringify({...each, bytes: bytes / ticks, seen: seen / ticks / count, compared}))
