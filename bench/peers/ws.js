// The echo and the broadcast server on npm ws. A message of text is answered as text.
//
//     NODE_PATH=FOLDER/node_modules node ws.js echo|broadcast PORT
'use strict'

const { WebSocketServer } = require('ws')

const [mode, port] = process.argv.slice(2)
const answer = {
  echo (socket, data, isBinary) {
    socket.send(data, { binary: isBinary })
  },
  broadcast (_, data, isBinary) {
    for (const client of server.clients) client.send(data, { binary: isBinary })
  }
}
const respond = answer[mode]
if (!respond) throw new Error('usage: ws.js echo|broadcast PORT')

// perMessageDeflate is off, which is the default.
const options = { host: '127.0.0.1', port: Number(port), backlog: 4096 }
const server = new WebSocketServer(options, () => console.log('ready ' + port))
server.on('connection', socket => {
  socket.on('message', (data, isBinary) => respond(socket, data, isBinary))
  socket.on('error', () => socket.terminate())
})
