// The echo and the broadcast server on Node's net.
//
//     node node.js echo|broadcast PORT
'use strict'

const net = require('net')

const [mode, port] = process.argv.slice(2)
const clients = new Set()
const NONE = Buffer.alloc(0)

// Answers are written as they are made; corked, so that those of one read leave together.
const answer = {
  echo (socket, frames) {
    if (frames.length === 1) return socket.write(frames[0])
    socket.cork()
    for (const frame of frames) socket.write(frame)
    socket.uncork()
  },
  broadcast (_, frames) {
    const bytes = frames.length === 1 ? frames[0] : Buffer.concat(frames)
    for (const client of clients) client.write(bytes)
  }
}
const respond = answer[mode]
if (!respond) throw new Error('usage: node.js echo|broadcast PORT')

const server = net.createServer({ noDelay: true }, socket => {
  let partial = NONE
  clients.add(socket)
  socket.on('data', chunk => {
    const bytes = partial.length ? Buffer.concat([partial, chunk]) : chunk
    const frames = []
    let start = 0
    for (let nul; (nul = bytes.indexOf(0, start)) >= 0; start = nul + 1) {
      frames.push(bytes.subarray(start, nul + 1))
    }
    partial = start < bytes.length ? bytes.subarray(start) : NONE
    if (frames.length) respond(socket, frames)
  })
  socket.on('error', () => socket.destroy())
  socket.on('close', () => clients.delete(socket))
})
server.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 }, () => {
  console.log('ready ' + port)
})
