// A server of `make bench-scale` on Socket.IO: what one client sends, all get who are in one
// room, on all servers of the same Redis.
//
//     NODE_PATH=FOLDER/node_modules node socketio.js PORT REDIS-URL
'use strict'

const { createServer } = require('http')
const { createClient } = require('redis')
const { createAdapter } = require('@socket.io/redis-adapter')
const { Server } = require('socket.io')

const [port, url] = process.argv.slice(2)

async function main () {
  const publisher = createClient({ url })
  const subscriber = publisher.duplicate()
  await Promise.all([publisher.connect(), subscriber.connect()])
  const http = createServer()
  // Over WebSocket alone, which `ws` carries, uncompressed as by default.
  const io = new Server(http, {
    adapter: createAdapter(publisher, subscriber),
    transports: ['websocket'],
    serveClient: false
  })
  io.on('connection', socket => {
    socket.join('all')
    socket.on('m', text => io.to('all').emit('m', text))
  })
  http.listen({ host: '127.0.0.1', port: Number(port), backlog: 4096 },
    () => console.log('ready'))
}

main().catch(problem => {
  console.error(problem)
  process.exit(1)
})
