// Ports for servers that are started again where they were. They lie below those that the
// system gives to outgoing connections: one of these may have the port meanwhile, or, when
// nobody listens, even connect to itself.

import {once} from "node:events";
import net from "node:net";

const FIRST = 20_000;
const COUNT = 12_000;

export async function freePort() {
  for (;;) {
    const port = FIRST + Math.floor(Math.random() * COUNT);
    const server = net.createServer().listen(port, "127.0.0.1");
    const isFree = await Promise.race([once(server, "listening").then(() => true),
      once(server, "error").then(() => false, () => false)]);
    if (!isFree) continue;
    server.close();
    await once(server, "close");
    return port;
  }
}
