// The function that adds on npm rpc-websockets, as its manual writes a server.
//
//     NODE_PATH=FOLDER/node_modules node rpc-websockets.js ws PORT
'use strict'

const { Server } = require('rpc-websockets')

const [transport, port] = process.argv.slice(2)
if (transport !== 'ws') throw new Error('usage: rpc-websockets.js ws PORT')

// Compression is off, which is the default of the ws below it.
const server = new Server({ host: '127.0.0.1', port: Number(port) })
server.register('add', ([a, b]) => a + b)
server.on('listening', () => console.log('ready ' + port))
