"""The four handlers on asyncio, for CPython and PyPy.

    python3 serve.py echo|chat|game|rpc PORT

What one read brought is answered with one write to each client, as SYNC does.
"""
import asyncio
import json
import sys

unwritten = []  # clients that were sent something since the last write


class Server(asyncio.Protocol):
    def connection_made(self, transport):
        self.transport = transport
        self.partial = b""
        self.queue = []
        self.connected()

    def connection_lost(self, reason):
        self.left()

    def data_received(self, data):
        *messages, self.partial = (self.partial + data).split(b"\0")
        for message in messages:
            self.on_data(message)
        for client in unwritten:
            client.queue.append(b"")
            client.transport.write(b"\0".join(client.queue))
            client.queue.clear()
        unwritten.clear()

    def send(self, data):
        if not self.queue:
            unwritten.append(self)
        self.queue.append(data)

    def connected(self):
        pass

    def left(self):
        pass


class Echo(Server):
    def on_data(self, data):
        self.send(data)


RANGE = 45
room = {}  # its keys are the members, in the order they came


class Chat(Server):
    team = None

    def left(self):
        room.pop(self, None)

    def on_data(self, data):
        if self.team is None:
            self.team, self.level = map(int, data.split()[1:])
            room[self] = True
            self.send(b"joined")
            return
        team, level = self.team, self.level
        for other in room:
            if other.team == team and abs(other.level - level) <= RANGE:
                other.send(data)


BODIES, SIZE, DT = 64, 400, 1 / 60
TOUCH, INTEREST = 16 * 16, 100 * 100


class Body:
    __slots__ = ("id", "x", "y", "vx", "vy", "near")

    def __init__(self, number, random):
        self.id = number
        self.x = random(SIZE)
        self.y = random(SIZE)
        self.vx = random(120) - 60
        self.vy = random(120) - 60
        self.near = []


def new_world():
    seed = 42

    def random(limit):
        nonlocal seed
        seed = seed * 16807 % 2147483647
        return seed / 2147483647 * limit

    return [Body(number, random) for number in range(1, BODIES + 1)]


def bounce(x, v):
    if x < 0:
        return -x, -v
    if x > SIZE:
        return 2 * SIZE - x, -v
    return x, v


def move(world):
    for body in world:
        body.x, body.vx = bounce(body.x + body.vx * DT, body.vx)
        body.y, body.vy = bounce(body.y + body.vy * DT, body.vy)
        body.near.clear()


def collide(a, b, dx, dy, square):
    approach = (b.vx - a.vx) * dx + (b.vy - a.vy) * dy
    if approach >= 0 or square == 0:
        return 0
    push = approach / square
    a.vx, a.vy = a.vx + push * dx, a.vy + push * dy
    b.vx, b.vy = b.vx - push * dx, b.vy - push * dy
    return 1


def meet(world):
    hits = 0
    for i in range(BODIES - 1):
        a = world[i]
        for j in range(i + 1, BODIES):
            b = world[j]
            dx, dy = b.x - a.x, b.y - a.y
            square = dx * dx + dy * dy
            if square < INTEREST:
                a.near.append(b)
                b.near.append(a)
                if square < TOUCH:
                    hits += collide(a, b, dx, dy, square)
    return hits


def checksum(world):
    seen, total = 0, 0.0
    for body in world:
        total = total + body.x * body.id + body.y
        for other in body.near:
            seen += other.id
    return seen, total


class Game(Server):
    def connected(self):
        self.world = new_world()

    def on_data(self, data):
        move(self.world)
        hits = meet(self.world)
        seen, total = checksum(self.world)
        self.send(b"%d %d %.9f" % (hits, seen, total))


METHODS = {"add": lambda params: params[0] + params[1]}


class Rpc(Server):
    def on_data(self, data):
        call = json.loads(data)
        method = METHODS.get(call["method"])
        answer = {"jsonrpc": "2.0", "id": call["id"]}
        if method:
            answer["result"] = method(call["params"])
        else:
            answer["error"] = {"code": -32601, "message": "Method not found"}
        self.send(json.dumps(answer, separators=(",", ":")).encode())


async def serve(protocol, port):
    loop = asyncio.get_running_loop()
    server = await loop.create_server(protocol, "127.0.0.1", port, backlog=4096)
    print("ready", port, flush=True)
    await server.serve_forever()


HANDLERS = {"echo": Echo, "chat": Chat, "game": Game, "rpc": Rpc}
asyncio.run(serve(HANDLERS[sys.argv[1]], int(sys.argv[2])))
