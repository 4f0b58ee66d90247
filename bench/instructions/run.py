#!/usr/bin/env python3
"""Counts the instructions a message costs: `make bench-instructions` (OLD=path: also those of
another sync-lua, and the ratio; OLD_OPTIONS=--watchdog=off: also those of this one with other
options; OPTIONS= are those of the new one; OLD=build/bench/uv OLD_SERVE=: those of a peer, which
is told a work and a port, ONLY=echo-null,broadcast-null).

A server runs under callgrind, and clients send in step: each sends only when all have got
what was sent before, so that the ticks are the same in each run. A short and a long run are
made; their difference is free of what starting, warming up and ending costs. The kernel's
work isn't counted, and sockets are epoll's: what waits in io_uring ends without its counts.
"Core" is what src/ executes itself, which hardly differs from run to run;
"all" has LuaJIT's part too, which differs by about 1 %. Large messages have 16 KiB; valgrind
counts each byte that they are copied as an instruction. ONLY=echo-null,broadcast-websocket
chooses works, ROUNDS=N takes the least of N (3), DEPTH=N sends so many messages at once (16).
"""
import base64
import os
import socket
import struct
import sys
import tempfile
from typing import NamedTuple

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "runs"))
from shared import Failed, Process, count_rounds, free_port, table  # noqa: E402

SERVE = "bench/instructions/serve.lua"
DEPTH = int(os.environ.get("DEPTH", "16"))  # messages that are sent at once
SECONDS = 120  # for an answer under callgrind
ROUNDS = count_rounds(3)


class Work(NamedTuple):
    handler: str  # of serve.lua
    wire: str
    size: int = 64  # bytes of a message
    depth: int = DEPTH
    hearers: int = 1
    warm: int = 32768  # messages, or broadcasts times hearers
    counted: int = 262144

    def run(self, port, messages):
        drive(gather(port, self), self.depth, messages)


WORKS = {f"{handler}-{wire}": Work(handler, wire, hearers=32 if handler == "broadcast" else 1)
         for handler in ("echo", "beside", "bytes", "broadcast") for wire in ("null", "websocket")}
WORKS |= {f"game-{wire}": Work("game", wire, warm=512, counted=4096)
          for wire in ("null", "websocket")}
WORKS |= {f"{handler}-large": Work(handler, "websocket", 16384, 1, 1, 2048, 8192)
          for handler in ("echo", "bytes")}
ONLY = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(WORKS)


class Client:
    """Sends and counts messages of one size, NUL-framed or in WebSocket frames."""

    def __init__(self, port, wire, size):
        self.size = size
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sent, self.frame, self.answer = 0, lambda text: text + b"\0", size + 1
        if wire == "websocket":
            self.upgrade()

    def upgrade(self):
        key = base64.b64encode(os.urandom(16))
        self.socket.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n"
                            b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                            b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            piece = self.socket.recv(1)
            if not piece:
                raise Failed("the server closed instead of upgrading")
            head += piece
        long = self.size > 125  # a length in two bytes more
        length = struct.pack("!BH", 0xfe, self.size) if long else bytes([0x80 | self.size])
        head = b"\x81" + length + bytes(4)  # the mask is zeros
        self.frame, self.answer = lambda text: head + text, self.size + (4 if long else 2)

    def send(self, count):
        """No two messages are equal, as the server keeps one copy of equal strings."""
        numbers = range(self.sent, self.sent + count)
        self.sent += count
        self.socket.sendall(b"".join(self.frame(b"%0*d" % (self.size, n)) for n in numbers))

    def hear(self, count):
        left = count * self.answer
        while left > 0:
            piece = self.socket.recv(left)
            if not piece:
                raise Failed("the server closed")
            left -= len(piece)


def gather(port, work):
    """Clients that the server knows: each has said a word, which all there were have heard.
    Only what is sent tells the server that a byte stream is one."""
    clients = []
    for _ in range(work.hearers):
        clients.append(Client(port, work.wire, work.size))
        clients[-1].send(1)
        for client in clients:
            client.hear(1)
    return clients


def drive(clients, depth, messages):
    """Sends until so many messages were delivered."""
    for _ in range(messages // depth // len(clients)):
        clients[0].send(depth)
        for client in clients:
            client.hear(depth)


def tally(profile):
    """Instructions in all, and those of files in src/, of callgrind's output."""
    everything, core, inside, skip = 0, 0, False, False
    for line in profile:
        key, _, value = line.rstrip().partition("=")
        if key in ("fl", "fi", "fe"):
            inside = "/src/" in value or value.startswith("src/")
        elif key == "calls":
            skip = True  # the next line has what the callee costs
        elif line[:1].isdigit() or line[:1] in "+-*":
            cost = 0 if skip else int(line.split()[1])
            everything, core, skip = everything + cost, core + cost * inside, False
    return everything, core


def instructions(command, work, messages):
    """What a server executes that delivers so many messages: in all, and in src/."""
    port = free_port()
    with tempfile.NamedTemporaryFile("r") as profile:
        server = Process(["valgrind", "--tool=callgrind",
                          f"--callgrind-out-file={profile.name}", "--compress-strings=no",
                          "--compress-pos=no", *command, work.handler, str(port)])
        with server:
            work.run(port, messages)
        counted = tally(profile)
    if not counted[0]:
        raise Failed("callgrind counted nothing: " + server.trouble()[-200:])
    return counted


def count(command, name):
    """Instructions for each message that is delivered, in all and in src/. The least of the
    rounds: which traces the compiler makes, and where the collector stands, differs by
    chance."""
    work = WORKS[name]
    short, long = (list(zip(*(instructions(command, work, messages) for _ in range(ROUNDS))))
                   for messages in (work.warm, work.warm + work.counted))
    return [(min(after) - min(before)) / work.counted for before, after in zip(short, long)]


def main():
    os.environ.setdefault("SYNC_IO", "epoll")
    old, options = os.environ.get("OLD"), os.environ.get("OLD_OPTIONS")
    commands = [["./sync-lua", *os.environ.get("OPTIONS", "").split(), SERVE]]
    if old or options:
        commands.insert(0, [old or "./sync-lua", *(options or "").split(),
                            *os.environ.get("OLD_SERVE", SERVE).split()])
    rows = []
    for name in ONLY:
        counts = [count(command, name) for command in commands]
        for part, values in zip(("all", "core"), zip(*counts)):
            ratio = [f"{values[-1] / values[0]:.4f}"] if len(values) > 1 else []
            rows.append([name, part] + [f"{value:.1f}" for value in values] + ratio)
    head = ["a message", "instructions"] + (["old", "new", "new / old"] if len(commands) > 1 else ["now"])
    print("\n".join(table(head, rows, texts=2)))


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench-instructions: {problem}")
