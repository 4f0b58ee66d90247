#!/usr/bin/env python3
"""Measures SYNC beside its peers: `make bench`, or `make bench QUICK=1` (two minutes).

Each work is done by all peers in turn, round by round (A B C, A B C ...), so that what
slows the machine for a while slows all alike. A server runs alone on core 0, the load on
core 1. Ratios are taken within a round. ROUNDS=N sets the rounds (5), ONLY=sync,uv the
peers. Writes docs/benchmarks.md and its plots.
"""
import os
import statistics
import subprocess
import time

import report
from shared import PYTHON, QUICK, Failed, Server, begin, can_pin, count_rounds, run_load

ROUNDS = count_rounds(5, quick=2)
SECONDS, WARM_UP = (0.25, 0.2) if QUICK else (2.0, 0.8)
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
# Over WebSocket SYNC is measured beside npm ws alone.
WS = Peer("ws", "Node.js, npm ws",
          ["env", "NODE_PATH=build/bench/npm/node_modules", "node", PEERS + "ws.js"],
          ["env", "NODE_PATH=build/bench/npm/node_modules", "node", "-p", WS_VERSION])
RAW = Peer("raw", "C on libuv, unframed", ["build/bench/uv"],
           ["pkg-config", "--modversion", "libuv"], needs=["test", "-x", "build/bench/uv"])


class Work:
    """What the load does, and which figure of it counts."""

    def __init__(self, name, title, mode, options, server="echo", raw=False,
                 figure="per_second", rounds=ROUNDS, framing="null"):
        self.name, self.title, self.mode, self.options = name, title, mode, options
        self.server, self.raw, self.figure, self.rounds = server, raw, figure, rounds
        self.framing, self.websocket = framing, framing.startswith("ws-")

    def select(self, peers):
        """Those of the peers that speak what this work needs."""
        return [peer for peer in peers
                if (peer in (SYNC, WS) if self.websocket else peer is not WS)]


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
    Work("broadcast1", "Broadcast, 1 sender, 1,000 receivers, depth 1", "broadcast",
         ["-c", "1000", "-d", "1", "-s", "64", "-S", "1"], server="broadcast"),
    Work("broadcast16", "Broadcast, 1 sender, 1,000 receivers, depth 16", "broadcast",
         ["-c", "1000", "-d", "16", "-s", "64", "-S", "1"], server="broadcast"),
    Work("storm", "Connect, one round trip, leave; 64 at a time", "storm", ["-c", "64"]),
    Work("rate", "Latency at a fixed rate, 64 connections, 64 B", "rate",
         ["-c", "64", "-s", "64"], figure="p99"),
    Work("idle1000", "Memory of 1,000 idle connections", "idle", ["-c", "1000"],
         figure="memory", rounds=MEMORY_ROUNDS),
    Work("idle5000", "Memory of 5,000 idle connections", "idle", ["-c", "5000"],
         figure="memory", rounds=MEMORY_ROUNDS),
] + WS_WORKS


def measure(peer, work, rate):
    """One run. Returns what the load reported."""
    options = list(work.options)
    if work.mode == "rate":
        options += ["-r", str(int(rate))]
    seconds = IDLE_SECONDS if work.mode == "idle" else SECONDS
    options += ["-f", work.framing]
    mode = "raw" if peer is RAW else work.server
    with Server(peer.command + [mode]) as server:
        return run_load(server, work.mode, options, WARM_UP, seconds)


def half_of_uv(results):
    """The rate for the latency: half of what C on libuv echoed at depth 1."""
    runs = [run for run in results["echo1"].get("uv", []) if isinstance(run, dict)]
    return statistics.median([run["per_second"] for run in runs]) / 2 if runs else None


def run_work(work, peers, results):
    rate = half_of_uv(results) if work.mode == "rate" else None
    found = results[work.name] = {}
    if work.mode == "rate" and not rate:
        for peer in work.select(peers):
            found[peer.name] = ["no rate: C on libuv did not echo"]
        return
    peers = [peer for peer in work.select(peers) if not peer.missing]
    for turn in range(work.rounds):
        for peer in peers + ([RAW] if work.raw and not RAW.missing else []):
            try:
                run = measure(peer, work, rate)
                if rate:
                    run["wanted"] = rate
            except Failed as problem:
                run = str(problem)
                print("    %s: failed: %s" % (peer.title, run), flush=True)
            found.setdefault(peer.name, []).append(run)
        print("  %s: round %d of %d" % (work.title, turn + 1, work.rounds), flush=True)


def main():
    begin()
    began = time.monotonic()
    only = [name for name in os.environ.get("ONLY", "").split(",") if name]
    peers = [peer for peer in ALL + [WS] if not only or peer.name in only]
    machine = report.machine()
    for peer in peers + [RAW]:
        peer.prepare()
        if peer.missing and peer is not RAW:
            print("missing: %s: %s" % (peer.title, peer.missing), flush=True)
    results = {}
    for work in WORKS:
        run_work(work, peers, results)
    command = "make bench" + (" QUICK=1" if QUICK else "")
    if not QUICK and "ROUNDS" in os.environ:
        command += " ROUNDS=%d" % ROUNDS
    settings = {"command": command, "quick": QUICK, "rounds": ROUNDS, "seconds": SECONDS,
                "warm_up": WARM_UP, "took": time.monotonic() - began,
                "pinned": can_pin(),
                "memory_rounds": MEMORY_ROUNDS, "only": only}
    report.write(WORKS, peers, RAW, results, settings, machine)


if __name__ == "__main__":
    main()
