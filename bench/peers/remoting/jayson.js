// The function that adds on npm jayson, over TCP, where a line feed ends each JSON text.
//
//     NODE_PATH=FOLDER/node_modules node jayson.js tcp PORT
'use strict'

const jayson = require('jayson')

const [transport, port] = process.argv.slice(2)
if (transport !== 'tcp') throw new Error('usage: jayson.js tcp PORT')

const server = new jayson.Server({
  add: ([a, b], done) => done(null, a + b)
})
server.tcp().listen(Number(port), '127.0.0.1', () => console.log('ready ' + port))
