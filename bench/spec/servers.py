"""Servers for the tests of the load generator: a right one, and ways in which one is wrong.

A server answers each message by calling `answer(client, message)`, client.count being the
number of that message. `client.send` frames and sends what it is given.
"""
import base64
import hashlib
import json
import socket
import struct
import threading
import time
import zlib

SIZE = 64  # bytes of a message
FAULTY = 3  # the message whose answer is wrong
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
# Bytes of a length, and their order.
PREFIXES = {"length16": (2, "big"), "length32": (4, "big"), "length24le": (3, "little")}
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Gone(Exception):
    """The load has left."""


def frame(opcode, payload, last=True, mask=None, reserved=0):
    """A WebSocket frame, its length in the shortest form."""
    length = len(payload)
    masked = 0x80 if mask else 0
    head = bytes([(0x80 if last else 0) | reserved | opcode])
    if length < 126:
        head += bytes([masked | length])
    elif length < 65536:
        head += struct.pack(">BH", masked | 126, length)
    else:
        head += struct.pack(">BQ", masked | 127, length)
    if mask:
        payload = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
    return head + (mask or b"") + payload


class Client:
    """One connection, as the server sees it."""

    def __init__(self, server, sock):
        self.server, self.sock = server, sock
        self.ready = not server.websocket
        self.count = -1
        self.bytes = b""
        self.opcode = TEXT
        self.masks, self.repeated, self.pongs = set(), 0, []

    def receive(self):
        piece = self.sock.recv(65536)
        if not piece:
            raise Gone
        self.bytes += piece

    def take(self, length):
        while len(self.bytes) < length:
            self.receive()
        taken, self.bytes = self.bytes[:length], self.bytes[length:]
        return taken

    def take_until(self, end):
        while end not in self.bytes:
            self.receive()
        taken, self.bytes = self.bytes.split(end, 1)
        return taken

    def raw(self, data):
        self.sock.sendall(data)

    # What is common to framings

    def message(self):
        framing = self.server.framing
        if framing == "raw":
            return self.take(SIZE)
        if framing in ("null", "line"):
            return self.take_until(b"\0" if framing == "null" else b"\n")
        if framing in PREFIXES:
            size, order = PREFIXES[framing]
            return self.take(int.from_bytes(self.take(size), order))
        return self.websocket_message()

    def framed(self, message):
        framing = self.server.framing
        if framing in ("ws-text", "ws-binary"):
            return frame(self.opcode, message)
        if framing in PREFIXES:
            return len(message).to_bytes(*PREFIXES[framing]) + message
        return message + {"raw": b"", "null": b"\0", "line": b"\n"}[framing]

    def send(self, message):
        self.raw(self.framed(message))

    # WebSocket

    def websocket_message(self):
        """A message, and whether the load keeps the rules for clients."""
        while True:
            first, second = self.take(2)
            wrong = self.server.wrong
            if not second & 0x80:
                wrong.append("a frame is not masked")
            if first & 0x70 or not first & 0x80:
                wrong.append("a frame has reserved bits or is fragmented")
            length = second & 127
            if length == 126:
                length, = struct.unpack(">H", self.take(2))
                if length < 126:
                    wrong.append("a length is not in its shortest form")
            elif length == 127:
                length, = struct.unpack(">Q", self.take(8))
                if length < 65536:
                    wrong.append("a length is not in its shortest form")
            mask = self.take(4)
            # Of 2^32 masks some come twice by chance: one in 10,000 frames is far above that.
            self.repeated += mask in self.masks
            if self.repeated > 1 + len(self.masks) // 10000:
                wrong.append("masks are used again")
            self.masks.add(mask)
            payload = self.take(length)
            key = (mask * (length // 4 + 1))[:length]
            payload = (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")) \
                .to_bytes(length, "big")
            opcode = first & 15
            if opcode == PONG:
                self.pongs.append(payload)
                continue
            if opcode != (TEXT if self.server.framing == "ws-text" else BINARY):
                wrong.append("an opcode is %d" % opcode)
            self.opcode = opcode
            return payload

    def handshake(self):
        head = self.take_until(b"\r\n\r\n").split(b"\r\n")
        fields = {name.lower(): value.strip() for name, value in
                  (line.split(b":", 1) for line in head[1:])}
        key = fields[b"sec-websocket-key"]
        wrong = self.server.wrong
        if head[0] != b"GET " + self.server.path + b" HTTP/1.1":
            wrong.append("the request is %r" % head[0])
        if len(base64.b64decode(key, validate=True)) != 16:
            wrong.append("the key is %r" % key)
        if key in self.server.keys:
            wrong.append("a key was used twice")
        if fields.get(b"host") != b"%s:%d" % (self.server.host, self.server.port):
            wrong.append("the host is %r" % fields.get(b"host"))
        if fields.get(b"sec-websocket-version") != b"13":
            wrong.append("the version is missing")
        self.server.keys.add(key)
        self.raw(self.server.handshake(base64.b64encode(hashlib.sha1(key + GUID).digest())))


def accept(key, status=b"101 Switching Protocols", upgrade=b"Upgrade: websocket\r\n",
           connection=b"Connection: keep-alive, Upgrade\r\n", more=b"", rest=b""):
    return (b"HTTP/1.1 " + status + b"\r\n" + upgrade + connection +
            b"sec-websocket-accept:  " + key + b" \r\n" + more + b"\r\n" + rest)


class Server:
    """Serves in threads, for as long as the `with` lasts."""

    def __init__(self, framing, answer, handshake=accept, address="127.0.0.1", tls=None):
        self.framing, self.answer, self.handshake = framing, answer, handshake
        self.websocket = framing.startswith("ws-")
        self.tls = tls  # an ssl.SSLContext
        self.clients, self.keys, self.wrong = [], set(), []
        self.held = {}
        self.lock = threading.Lock()
        self.both = threading.Barrier(2, timeout=5)
        self.path = b"/path?a=b"
        self.host = b"[%s]" % address.encode() if ":" in address else address.encode()
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.listener = socket.create_server((address, 0), family=family, backlog=128)
        self.port = self.listener.getsockname()[1]

    def joined(self):
        return [client for client in self.clients if client.ready]

    def serve(self, client):
        try:
            if self.tls:
                client.sock = self.tls.wrap_socket(client.sock, server_side=True)
            if self.websocket:
                client.handshake()
                client.ready = True
            while True:
                message = client.message()
                client.count += 1
                self.answer(client, message)
        except (Gone, OSError, threading.BrokenBarrierError):
            pass
        finally:
            with self.lock:
                if client in self.clients:
                    self.clients.remove(client)
            client.sock.close()

    def listen(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            client = Client(self, sock)
            with self.lock:
                self.clients.append(client)
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def __enter__(self):
        threading.Thread(target=self.listen, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        with self.lock:
            for client in self.clients:
                try:
                    client.sock.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass


# Right answers

def echo(client, message):
    client.send(message)


def packed(message):
    """As permessage-deflate sends it."""
    pack = zlib.compressobj(wbits=-15)
    return (pack.compress(message) + pack.flush(zlib.Z_SYNC_FLUSH))[:-4]


def deflated(client, message):
    bytes_ = packed(message)
    half = len(bytes_) // 2
    client.raw(frame(client.opcode, bytes_[:half], last=False, reserved=0x40) +
               frame(0, bytes_[half:]))


def deflated_wrongly(client, message):
    client.raw(frame(client.opcode, packed(message[:-1] + b"~"), reserved=0x40))


def no_deflate(client, message):
    client.raw(frame(client.opcode, b"\xff\xff" + message, reserved=0x40))


def broadcast(client, message):
    with client.server.lock:
        for other in client.server.joined():
            other.opcode = client.opcode
            try:
                other.send(message)
            except OSError:  # it has left, which is no fault of the sender's
                pass


def in_pieces(client, message):
    data = client.framed(message)
    for at in range(0, len(data), 7):
        client.raw(data[at:at + 7])


def fragmented(client, message):
    """In three fragments with pings between them, which must be answered."""
    ping = b"%d" % client.count
    client.raw(frame(client.opcode, message[:10], last=False) + frame(PING, ping) +
               frame(0, b"", last=False) + frame(PONG, b"unasked"))
    client.raw(frame(0, message[10:]))
    if client.pongs != [b"%d" % i for i in range(len(client.pongs))]:
        client.server.wrong.append("pongs that do not fit: %r" % client.pongs)
    if client.count > 5 and not client.pongs:  # on a busy machine some messages overtake them
        client.server.wrong.append("pings were not answered")


def adds(client, message):
    """Answers add(a, b) of JSON-RPC."""
    call = json.loads(message)
    client.send(added(call["id"], sum(call["params"])))


def added(number, result):
    return json.dumps({"id": number, "result": result, "jsonrpc": "2.0"}).encode()


def adds_in_pairs(client, message):
    """The second call of two is answered first."""
    if client.count % 2 == 0:
        client.server.held[client] = message
    else:
        adds(client, message)
        adds(client, client.server.held[client])


def chats(client, message):
    """What one says, all hear who are of its team and near its level."""
    if message.startswith(b"join"):
        client.team, client.level = map(int, message.split()[1:])
        client.send(b"joined")
        return
    for other in client.server.clients:
        if other.team == client.team and abs(other.level - client.level) <= 45:
            other.send(message)


def socketio(client, message):
    """Answers a greeting; what is said in Socket.IO's words, all get."""
    if message == b"40":
        client.send(b'40{"sid":"1"}')
    elif message.startswith(b"42"):
        broadcast(client, message)


def greeting(key):
    """A handshake's answer with Engine.IO's first message behind it."""
    return accept(key, rest=frame(TEXT, b'0{"sid":"1"}'))


# Wrong ones

def fault(function, number=FAULTY):
    """An answer that is right but for one message."""
    def answer(client, message):
        if client.count == number:
            function(client, message)
        else:
            client.send(message)
    answer.__name__, answer.fault = function.__name__, function
    return answer


@fault
def swaps_bytes(client, message):
    at = next(i for i in range(30, SIZE) if message[i] != message[i + 1])
    client.send(message[:at] + message[at + 1:at + 2] + message[at:at + 1] + message[at + 2:])


@fault
def wrong_byte(client, message):
    client.send(message[:40] + bytes([message[40] ^ 2]) + message[41:])


@fault
def repeats_byte(client, message):
    at = next(i for i in range(30, SIZE - 4) if message[i] != message[i + 1])
    client.send(message[:at + 1] + message[at:-1])


@fault
def drops(client, message):
    pass


@fault
def repeats(client, message):
    client.send(message)
    client.send(message)


@fault
def cuts(client, message):
    client.send(message[:20])


@fault
def lengthens(client, message):
    client.send(message + b"abcd")


@fault
def is_late(client, message):
    time.sleep(1.2)
    client.send(message)


@fault
def closes(client, message):
    raise Gone


@fault
def closes_in_the_middle(client, message):
    client.raw(client.framed(message)[:25])
    raise Gone


@fault
def closes_with_a_code(client, message):
    client.raw(frame(CLOSE, struct.pack(">H", 1011) + b"out of order"))


@fault
def masks(client, message):
    client.raw(frame(client.opcode, message, mask=b"abcd"))


@fault
def reserved_bits(client, message):
    client.raw(frame(client.opcode, message, reserved=0x40))


@fault
def unknown_opcode(client, message):
    client.raw(frame(3, message))


@fault
def long_length(client, message):
    client.raw(struct.pack(">BBH", 0x80 | client.opcode, 126, SIZE) + message)


@fault
def continues_nothing(client, message):
    client.raw(frame(0, message))


@fault
def begins_within(client, message):
    client.raw(frame(client.opcode, message[:9], last=False) + frame(client.opcode, message))


@fault
def long_ping(client, message):
    client.raw(frame(PING, b"x" * 126))


@fault
def other_kind(client, message):
    client.opcode = TEXT + BINARY - client.opcode
    client.send(message)


@fault
def adds_wrongly(client, message):
    call = json.loads(message)
    client.send(added(call["id"], sum(call["params"]) + 1))


@fault
def adds_twice(client, message):
    adds(client, message)
    adds(client, message)


@fault
def answers_something(client, message):
    client.send(b'{"jsonrpc":"2.0","id":1,"error":{}}')


def but(right, wrong):
    """A right answer, but for one message."""
    def answer(client, message):
        (wrong.fault if client.count == FAULTY else right)(client, message)
    answer.__name__ = right.__name__ + ", one " + wrong.__name__
    return answer


def adds_for_one(client, message):
    """The other client is forgotten."""
    if client is client.server.clients[0]:
        adds(client, message)


def tells_others(client, message):
    """Who is of another team hears, too."""
    if message.startswith(b"join"):
        chats(client, message)
        return
    for other in client.server.clients:
        other.send(message)


def socketio_drops(client, message):
    """One message after the probe is given to nobody."""
    if client.count != 1 + FAULTY:
        socketio(client, message)


def socketio_says(client, message):
    """Something that nobody has said follows a message."""
    socketio(client, message)
    if client.count == 1 + FAULTY:
        client.send(b'42["n","hello"]')


def gets_slower(client, message):
    """As a server does that has too many clients."""
    time.sleep(max(0, len(client.server.clients) - 8) * 0.2)
    client.send(message)


def counts_ids(client, message):
    """Answers with others' messages round the right one, as a chat does."""
    client.send(b"somebody said 100000000000000")
    client.send(b"you said: " + message)
    client.send(b"and left")


def checks_ids(client, message):
    """A message is {"id": NUMBER} with a number that did not come before."""
    words = message.split(b'"')
    number = words[2].strip(b": }")
    with client.server.lock:
        if len(number) != 15 or not number.isdigit() or number in client.server.keys:
            client.server.wrong.append("an id is %r" % number)
        client.server.keys.add(number)
    client.send(message)


def never_answers(client, message):
    pass


def mixes_halves(client, message):
    """The second half of message FAULTY is that of the message before."""
    if client.count == FAULTY:
        client.send(message[:32] + client.server.held[client][32:])
    else:
        client.server.held[client] = message
        client.send(message)


def mixes_clients(client, message):
    """Two clients get each other's answer."""
    if client.count != FAULTY:
        client.send(message)
        return
    client.server.held[client] = message
    client.server.both.wait()
    other = next(held for one, held in client.server.held.items() if one is not client)
    client.send(other)


def reorders(client, message):
    """Message FAULTY comes behind the next."""
    if client.count == FAULTY:
        client.server.held[client] = message
    elif client.count == FAULTY + 1:
        client.send(message)
        client.send(client.server.held[client])
    else:
        client.send(message)


def broadcast_fault(wrong):
    """One client gets one message wrong. The first messages are probes."""
    def answer(client, message):
        if client.count < FAULTY:
            broadcast(client, message)
            return
        with client.server.lock:
            joined = client.server.joined()
            for other in joined:
                other.opcode = client.opcode
                if other is joined[-1] and client.count == FAULTY:
                    try:
                        wrong.fault(other, message)
                    except Gone:
                        other.sock.shutdown(socket.SHUT_WR)
                        client.server.clients.remove(other)
                else:
                    other.send(message)
    answer.__name__ = "broadcast, one " + wrong.__name__
    return answer
