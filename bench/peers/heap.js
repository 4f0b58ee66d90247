// The same as heap.lua on Node.js.
//
//     node heap.js strings|tables OBJECTS PORT
const net = require('net');

const [kind, amount, port] = process.argv.slice(2);
const count = Number(amount);
let made = 0;
// A string that is put together is flat only once somebody has looked at it.
const make = kind === 'strings'
  ? () => { made += 1; const text = 'object ' + made; text.charCodeAt(0); return text; }
  : () => { made += 1; return [made, made]; };

const objects = [];
for (let i = 0; i < count; i++) objects.push(make());
let place = 0;

net.createServer((socket) => {
  socket.setNoDelay(true);
  let partial = null;
  socket.on('data', (data) => {
    if (partial) {
      data = Buffer.concat([partial, data]);
      partial = null;
    }
    const end = data.lastIndexOf(0) + 1;
    for (let at = 0; at < end; at = data.indexOf(0, at) + 1) {
      if (count > 0) {
        place = (place + 1) % count;
        objects[place] = make();
      }
    }
    if (end > 0) socket.write(data.subarray(0, end));
    if (end < data.length) partial = data.subarray(end);
  });
  socket.on('error', () => {});
}).listen(Number(port), '127.0.0.1', () => console.log('ready ' + port));
