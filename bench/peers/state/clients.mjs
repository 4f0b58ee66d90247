// Clients of an arena, each with its library:
//
//     NODE_PATH=FOLDER/node_modules node clients.mjs sync|colyseus COUNT WARM_UP SECONDS PID PORT
//
// When all have joined and have a state it waits for the warm-up, and after SECONDS writes what
// was in them: `patches` and `bytes` that came, `cpu`, seconds of the process PID, and `own` of
// itself, and `seen`, entities in sight of a client. Of Colyseus' clients one in ten decodes its
// patches: else this process would be the limit, and not the server.

import {createRequire} from 'node:module'
import {readFileSync} from 'node:fs'
import path from 'node:path'
import * as sync from '../../../clients/js/sync.js'

const [kind, ...words] = process.argv.slice(2)
const [count, warmUp, seconds, pid, port] = words.map(Number)
const require = createRequire(path.resolve(process.env.NODE_PATH, 'x.js'))
const WebSocket = require('ws')

let [bytes, patches] = [0, 0]

// Counts what comes, whoever reads it.
class Counted extends WebSocket {
  constructor (...args) {
    super(...args)
    this.on('message', data => { bytes += data.length ?? data.byteLength })
  }
}

globalThis.WebSocket = Counted // what both libraries take

async function joinSync () {
  const game = await sync.connect(`ws://127.0.0.1:${port}`)
  const room = await game.join('Arena')
  await room.ready
  room.onPatch(() => { patches++ })
  return () => room.state.players.size
}

async function joinColyseus (i) {
  const {Client} = require('@colyseus/sdk')
  const client = new Client(`ws://127.0.0.1:${port}`)
  const room = await client.joinOrCreate('Arena')
  await new Promise(resolve => room.onStateChange.once(resolve))
  const {serializer} = room
  const patch = serializer.patch.bind(serializer)
  serializer.patch = (...args) => {
    patches++
    if (i % 10 === 0) patch(...args)
  }
  return () => i % 10 === 0 ? room.state.players.size : undefined
}

const TICK = 100 // of /proc/PID/stat, a second

function cpuOf (process) {
  const fields = readFileSync(`/proc/${process}/stat`, 'utf8').split(') ').pop().split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICK
}

const sizes = []
for (let i = 0; i < count; i++) {
  sizes.push(await (kind === 'sync' ? joinSync() : joinColyseus(i)))
}
const sleep = ms => new Promise(resolve => setTimeout(resolve, ms))
await sleep(warmUp * 1000)
bytes = patches = 0
const [from, own, start] = [cpuOf(pid), process.cpuUsage(), performance.now()]
await sleep(seconds * 1000)
const passed = (performance.now() - start) / 1000
const used = process.cpuUsage(own)
const known = sizes.map(size => size()).filter(size => size !== undefined)
console.log(JSON.stringify({
  patches: patches / passed, bytes: bytes / passed, cpu: (cpuOf(pid) - from) / passed,
  own: (used.user + used.system) / 1e6 / passed,
  seen: known.reduce((sum, size) => sum + size, 0) / known.length
}))
process.exit(0)
