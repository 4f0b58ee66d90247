#!/usr/bin/env python3
"""Measures SYNC beside its peers: `make bench`, or `make bench QUICK=1` (two minutes).

Each work is done by all peers in turn, round by round (A B C, A B C ...), so that what
slows the machine for a while slows all alike. A server runs alone on core 0, the load on
core 1. Ratios are taken within a round. ROUNDS=N sets the rounds (5), ONLY=sync,uv the
peers, WORKS=echo1,hold16 the works. UWS=PATH names a program that echoes WebSocket messages by uWebSockets,
called as `PATH echo PORT`, which prints `ready`. Writes docs/benchmarks.md and its plots; with ONLY or WORKS only prints,
but for WRITE=1.
"""
import os
import subprocess
import time

import report
from shared import PYTHON, QUICK, Failed, Server, begin, can_pin, count_rounds, run_load

ROUNDS = count_rounds(5, quick=2)
SECONDS, WARM_UP = (0.25, 0.2) if QUICK else (2.0, 0.8)
RATE = 80000       # messages/s at which latency is measured: about half of what C echoes
HOLD_STEP = 1.12   # from one rate that is tried to the next
HOLD_SHARE = 0.97  # of the offered rate must arrive
HOLD_P99 = 50000   # and in so many µs
HOLD_TRIES = 30
IDLE_SECONDS = 1 if QUICK else 4  # a server may give memory back when it is calm
PEERS = "bench/peers/"


class Peer:
    """A server that is measured; `command` gets the mode and the port."""

    def __init__(self, name, title, command, version, needs=None, build=None):
        self.name, self.title, self.command = name, title, command
        self.version_command, self.needs, self.build = version, needs, build
        self.version, self.missing = "", None

    def prepare(self):
        """Finds out the version, or why the peer can't run."""
        if not self.command[0]:
            self.missing = "not asked for"
            return
        for command in filter(None, [self.build, self.needs, self.version_command]):
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=120)
            except (OSError, subprocess.TimeoutExpired) as problem:
                self.missing = str(problem)
                return
            if done.returncode != 0:
                said = (done.stderr or done.stdout).strip().splitlines()
                self.missing = said[-1] if said else "%s failed" % command[0]
                return
        self.version = " ".join((done.stdout + done.stderr).split())


LUV_VERSION = ("local uv = require 'luv' print(jit.version .. ', libuv ' .. "
               "uv.version_string())")
UVLOOP_VERSION = ("import sys, uvloop; "
                  "print('uvloop', uvloop.__version__, 'on Python', sys.version.split()[0])")
PYTHON_VERSION = "import platform as p; print(p.python_implementation(), p.python_version())"
PYPY_VERSION = ("import sys; print('PyPy %d.%d.%d' % sys.pypy_version_info[:3], "
                "'(Python %d.%d)' % sys.version_info[:2])")

WS_VERSION = "'ws ' + require('ws/package.json').version + ', Node.js ' + process.version"

SYNC = Peer("sync", "SYNC", ["./sync-lua", PEERS + "sync.lua"], ["./sync-lua", "--version"])
ALL = [
    SYNC,
    Peer("sync-off", "SYNC, JIT off", ["./sync-lua", "--jit=off", PEERS + "sync.lua"],
         ["./sync-lua", "--version"]),
    Peer("sync-bytes", "SYNC, onBytes", ["./sync-lua", PEERS + "sync.lua", "bytes"],
         ["./sync-lua", "--version"]),
    Peer("sync-epoll", "SYNC, epoll", ["./sync-lua", "--io=epoll", PEERS + "sync.lua"],
         ["./sync-lua", "--version"], needs=["./sync-lua", "--io=epoll", "-e", ""]),
    Peer("uring", "C on io_uring", ["build/bench/uring"],
         ["pkg-config", "--modversion", "liburing"], needs=["test", "-x", "build/bench/uring"]),
    Peer("uv", "C on libuv", ["build/bench/uv"],
         ["pkg-config", "--modversion", "libuv"], needs=["test", "-x", "build/bench/uv"]),
    Peer("go", "Go net", ["build/bench/go"], ["go", "version"],
         build=["go", "build", "-o", "build/bench/go", PEERS + "go/main.go"]),
    Peer("luv", "LuaJIT, luv", ["luajit", PEERS + "luv.lua"], ["luajit", "-e", LUV_VERSION]),
    Peer("node", "Node.js net", ["node", PEERS + "node.js"], ["node", "--version"]),
    Peer("uvloop", "Python, uvloop", [PYTHON, PEERS + "aio.py", "--uvloop"],
         [PYTHON, "-c", UVLOOP_VERSION]),
    Peer("pypy", "PyPy, asyncio", ["pypy3", PEERS + "aio.py"], ["pypy3", "-c", PYPY_VERSION]),
    Peer("cpython", "CPython, asyncio", [PYTHON, PEERS + "aio.py"],
         [PYTHON, "-c", PYTHON_VERSION]),
]
# Over WebSocket SYNC is measured beside these.
WS = Peer("ws", "Node.js, npm ws",
          ["env", "NODE_PATH=build/bench/npm/node_modules", "node", PEERS + "ws.js"],
          ["env", "NODE_PATH=build/bench/npm/node_modules", "node", "-p", WS_VERSION])
UWS = Peer("uws", "uWebSockets", [os.environ.get("UWS", "")], ["true"])
OVER_WEBSOCKET = [WS, UWS]
RAW = Peer("raw", "C on libuv, unframed", ["build/bench/uv"],
           ["pkg-config", "--modversion", "libuv"], needs=["test", "-x", "build/bench/uv"])


class Work:
    """What the load does, and which figure of it counts."""

    def __init__(self, name, title, mode, options, server="echo", raw=False,
                 figure="per_second", rounds=ROUNDS, framing="null"):
        self.name, self.title, self.mode, self.options = name, title, mode, options
        self.server, self.raw, self.figure, self.rounds = server, raw, figure, rounds
        self.framing, self.websocket = framing, framing.startswith("ws-")
        # One more or less in what is counted must not decide.
        self.burst = int(options[options.index("-b") + 1]) if "-b" in options else 1

    def select(self, peers):
        """Those of the peers that speak what this work needs."""
        return [peer for peer in peers
                if (peer.name.startswith("sync") and peer.name != "sync-off" or
                    peer in OVER_WEBSOCKET if self.websocket else peer not in OVER_WEBSOCKET)]


MEMORY_ROUNDS = 1 if QUICK else min(ROUNDS, 3)
WS_SIZES = [(20, "20 B"), (1024, "1 KiB"), (16384, "16 KiB")]
WS_DEPTHS = [1] if QUICK else [1, 16]
WS_WORKS = [
    # Text, which each side takes as a message by itself.
    Work("ws%d-%d" % (size, depth), "WebSocket echo, 100 connections, %s, depth %d"
         % (title, depth), "echo", ["-c", "100", "-d", str(depth), "-s", str(size)],
         framing="ws-text")
    for depth in WS_DEPTHS for size, title in WS_SIZES
] + [
    Work("wsidle5000", "Memory of 5,000 idle WebSocket connections", "idle", ["-c", "5000"],
         figure="memory", rounds=MEMORY_ROUNDS, framing="ws-text"),
]
WORKS = [
    Work("echo1", "Echo, 64 connections, 64 B, depth 1", "echo",
         ["-c", "64", "-d", "1", "-s", "64"], raw=True),
    Work("echo16", "Echo, 64 connections, 64 B, depth 16", "echo",
         ["-c", "64", "-d", "16", "-s", "64"], raw=True),
] + [
    # The same rate for all, whatever they do: what differs is what it costs.
    Work("burst%d" % burst, "Broadcast to 1,000: %d message%s each %d ms" % (
        burst, "s" if burst > 1 else "", each), "room",
         ["-c", "1000", "-s", "64", "-b", str(burst), "-r", str(burst * 1000 // each)],
         server="broadcast", figure="cpu")
    for burst, each in ((1, 10), (4, 20), (16, 40))
] + [
    Work("hold%d" % burst, "Broadcast to 1,000: the highest rate in bursts of %d" % burst, "hold",
         ["-c", "1000", "-s", "64", "-b", str(burst)], server="broadcast")
    for burst in (1, 16)
] + [
    Work("storm", "Connect, one round trip, leave; 64 at a time", "storm", ["-c", "64"]),
    Work("rate", "Latency at {:,} messages/s, 64 connections, 64 B".format(RATE), "rate",
         ["-c", "64", "-s", "64", "-r", str(RATE)], figure="p99"),
    Work("idle1000", "Memory of 1,000 idle connections", "idle", ["-c", "1000"],
         figure="memory", rounds=MEMORY_ROUNDS),
    Work("idle5000", "Memory of 5,000 idle connections", "idle", ["-c", "5000"],
         figure="memory", rounds=MEMORY_ROUNDS),
] + WS_WORKS


def command_of(peer, work):
    return peer.command + ["raw" if peer is RAW else work.server]


def is_held(run, offered):
    return (run["per_second"] >= HOLD_SHARE * offered and
            run["latency_us"]["p99"] <= HOLD_P99)


def try_rate(peer, work, rate):
    """A run in which so many messages a second are sent, on a server of its own; None when
    they weren't held."""
    options = work.options + ["-f", work.framing, "-r", str(int(rate)), "-T", "2"]
    with Server(command_of(peer, work)) as server:
        try:
            run = run_load(server, "room", options, WARM_UP / 2, SECONDS / 2)
        except Failed:
            return None
    receivers = int(work.options[work.options.index("-c") + 1])
    return run if is_held(run, int(rate) * receivers) else None


def hold(peer, work, before):
    """The run with the highest rate that is held, from where the round before has ended: up by
    steps until one isn't, or down until one is."""
    rate, best = before or max(100.0, 50.0 * work.burst), None
    step = HOLD_STEP if before else 2.0
    for _ in range(HOLD_TRIES):
        run = try_rate(peer, work, rate)
        if run:
            run["wanted"], best = rate, run
            rate *= step
        elif step > HOLD_STEP and best:
            step = HOLD_STEP
            rate = best["wanted"] * step
        elif best or rate < 1:
            break
        else:
            rate /= step
    if not best:
        raise Failed("no rate was held")
    return best


def measure(peer, work, before):
    """One run. Returns what the load reported."""
    if work.mode == "hold":
        return hold(peer, work, before)
    seconds = IDLE_SECONDS if work.mode == "idle" else SECONDS
    options = work.options + ["-f", work.framing]
    with Server(command_of(peer, work)) as server:
        run = run_load(server, work.mode, options, WARM_UP, seconds)
    if "-r" in options:
        run["wanted"] = int(options[options.index("-r") + 1])
        if work.mode == "room":
            run["wanted"] *= int(options[options.index("-c") + 1])
    return run


def run_work(work, peers, results):
    found = results[work.name] = {}
    before = {}
    peers = [peer for peer in work.select(peers) if not peer.missing]
    for turn in range(work.rounds):
        for peer in peers + ([RAW] if work.raw and not RAW.missing else []):
            try:
                run = measure(peer, work, before.get(peer.name))
                before[peer.name] = run.get("wanted")
            except Failed as problem:
                run = str(problem)
                print("    %s: failed: %s" % (peer.title, run), flush=True)
            found.setdefault(peer.name, []).append(run)
        print("  %s: round %d of %d" % (work.title, turn + 1, work.rounds), flush=True)


def main():
    begin()
    began = time.monotonic()
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    peers = [peer for peer in ALL + OVER_WEBSOCKET if not only or peer.name in only]
    wanted = [name for name in os.environ.get("WORKS", "").split(",") if name]
    works = [work for work in WORKS if not wanted or work.name in wanted]
    machine = report.machine()
    for peer in peers + [RAW]:
        peer.prepare()
        if peer.missing and peer is not RAW:
            print("missing: %s: %s" % (peer.title, peer.missing), flush=True)
    results = {}
    for work in works:
        run_work(work, peers, results)
    said = [name for name in ("QUICK", "ROUNDS", "ONLY", "WORKS") if os.environ.get(name)]
    command = " ".join(["make bench"] + ["%s=%s" % (name, os.environ[name]) for name in said])
    settings = {"command": command, "quick": QUICK, "rounds": ROUNDS, "seconds": SECONDS,
                "warm_up": WARM_UP, "took": time.monotonic() - began,
                "pinned": can_pin(), "hold_share": HOLD_SHARE,
                "hold_p99": HOLD_P99 / 1000, "hold_step": HOLD_STEP - 1}
    if (only or wanted) and not os.environ.get("WRITE"):
        report.print_all(works, peers, RAW, results)
        return
    report.write(works, peers, RAW, results, settings, machine)


if __name__ == "__main__":
    main()
