"""The echo and the broadcast server on asyncio.

    python3 aio.py [--uvloop] echo|broadcast PORT

asyncio sets TCP_NODELAY itself, and so does uvloop.
"""
import asyncio
import sys

clients = set()


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.partial = b""
        clients.add(transport)

    def connection_lost(self, reason):
        clients.discard(self.transport)

    def data_received(self, data):
        *messages, self.partial = (self.partial + data).split(b"\0")
        if messages:
            # The answers to what one read brought leave in one write.
            self.respond(b"".join([message + b"\0" for message in messages]))


class Echo(Server):
    def respond(self, answers):
        self.transport.write(answers)


class Broadcast(Server):
    def respond(self, answers):
        for transport in clients:
            transport.write(answers)


async def serve(protocol, port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=4096)
    print("ready", port, flush=True)
    await server.serve_forever()


arguments = sys.argv[1:]
if "--uvloop" in arguments:
    import uvloop

    arguments.remove("--uvloop")
    uvloop.install()
asyncio.run(serve({"echo": Echo, "broadcast": Broadcast}[arguments[0]], int(arguments[1])))
