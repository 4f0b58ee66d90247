#!/usr/bin/env python3
"""Measures remoting beside npm's: `make bench-remoting` (QUICK=1: one short round).

A call of add(a, b), 64 connections with 16 calls under way each. Over WebSocket SYNC stands
beside rpc-websockets, over TCP (a line each) beside jayson; they take turns, round by round,
so that what slows the machine for a while slows all alike. A server runs alone on core 0,
the load (load.c, which checks each answer) on core 1. Ratios are taken within a round.
ROUNDS=N sets the rounds (5). Prints a table.
"""
import json
import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from runs import QUICK, Failed, Server, count_rounds, run_load, spread, table  # noqa: E402

ROUNDS = count_rounds(5)
WARM_UP, SECONDS = (0.5, 0.7) if QUICK else (1.0, 2.0)
CONNECTIONS, DEPTH = 64, 16
BAR = 5  # times the calls of each peer
BUSY = 0.9  # of a core: who has less than this was kept from it, or waited
HERE = "bench/remoting/"
LOAD = "build/bench/remoting"
PACKAGES = "build/bench/remoting-npm/node_modules"

SYNC, OFF = "SYNC", "SYNC, JIT off"
COMMANDS = {
    SYNC: ["./sync-lua", HERE + "server.lua"],
    OFF: ["./sync-lua", "--jit=off", HERE + "server.lua"],
    "rpc-websockets": ["node", HERE + "peers/rpc-websockets.js"],
    "jayson": ["node", HERE + "peers/jayson.js"],
}
WORKS = {"ws": [SYNC, OFF, "rpc-websockets"], "tcp": [SYNC, OFF, "jayson"]}
TITLES = {"ws": "WebSocket", "tcp": "TCP"}


def measure(name, transport):
    """One run. Returns what the load reported."""
    environment = dict(os.environ, NODE_PATH=PACKAGES, NODE_ENV="production")
    with Server(COMMANDS[name] + [transport], env=environment) as server:
        return run_load(server, [LOAD, transport, server.port, server.pid, CONNECTIONS, DEPTH,
                                 WARM_UP, SECONDS], WARM_UP + SECONDS)


def version(package):
    """Of an npm package; None when it isn't installed."""
    try:
        with open(os.path.join(PACKAGES, package, "package.json")) as file:
            return json.load(file)["version"]
    except OSError:
        return None


def present():
    """The servers of each work that can run."""
    for package in ("rpc-websockets", "jayson"):
        print("%s %s" % (package, version(package) or "is missing: it is not measured"))
    try:
        print("Node.js " + subprocess.run(["node", "--version"], capture_output=True,
                                          text=True).stdout.strip())
        runs_node = True
    except OSError:
        print("Node.js is missing")
        runs_node = False
    return {work: [name for name in names
                   if name in (SYNC, OFF) or runs_node and version(name)]
            for work, names in WORKS.items()}


def cpu(run):
    return run["user_us"] + run["system_us"]


def pairs(rounds, work, name):
    """The runs of SYNC and of another, round by round, where both gave figures."""
    both = [(results[work].get(SYNC), results[work].get(name)) for results in rounds]
    return [pair for pair in both if all(pair)]


def row(rounds, work, name):
    runs = [results[work][name] for results in rounds if name in results[work]]
    if not runs:
        return [TITLES[work], name] + ["failed"] + ["-"] * 6
    both = pairs(rounds, work, name)

    def median(key):
        return statistics.median(run[key] for run in runs)
    return [TITLES[work], name, "{:,.0f}".format(median("rate")),
            "1" if name == SYNC else spread([a["rate"] / b["rate"] for a, b in both]),
            "%.2f" % median("user_us"), "%.2f" % median("system_us"),
            "1" if name == SYNC else spread([cpu(b) / cpu(a) for a, b in both]),
            "%.0f %%" % (median("server_busy") * 100), "%.0f %%" % (median("load_busy") * 100)]


def print_table(rounds, works):
    head = ["transport", "server", "calls/s", "SYNC's calls ÷ its", "user CPU, µs a call",
            "system CPU, µs", "its CPU ÷ SYNC's", "server's core", "load's core"]
    rows = [row(rounds, work, name) for work, names in works.items() for name in names]
    print("\n" + "\n".join(table(head, rows, texts=2)))


def disturbed(run):
    """Whether neither server nor load had its core: a closed loop leaves one of them busy."""
    return max(run["server_busy"], run["load_busy"]) < BUSY


def print_bars(rounds, works):
    """Rounds that other programs disturbed are no proof, for either side."""
    print()
    for work, names in works.items():
        for name in [name for name in names if name not in (SYNC, OFF)]:
            ratios = [a["rate"] / b["rate"] for a, b in pairs(rounds, work, name)
                      if not disturbed(a) and not disturbed(b)]
            verdict = "not judged"
            if ratios:
                holds = statistics.median(ratios) >= BAR
                verdict = "%s, %s" % (spread(ratios), "holds" if holds else "does not hold")
            print("Bar, %s: at least %d × the calls of %s: %s, by %d of %d rounds undisturbed" % (
                TITLES[work], BAR, name, verdict, len(ratios), len(rounds)))


def print_doubts(rounds):
    """Runs whose rate says little: the ratio of CPU a call does."""
    runs = [run for results in rounds for found in results.values() for run in found.values()]
    limits = sum(run["load_busy"] >= BUSY > run["server_busy"] for run in runs)
    idle = sum(disturbed(run) for run in runs)
    if limits:
        print("The load was the limit in %d of %d runs." % (limits, len(runs)))
    if idle:
        print("In %d of %d runs neither core was busy: other programs took their time."
              % (idle, len(runs)))


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    works, rounds, failed = present(), [], False
    for number in range(ROUNDS):
        results = {work: {} for work in works}
        for work, name in [(work, name) for work in works for name in works[work]]:
            try:
                results[work][name] = measure(name, work)
            except Failed as problem:
                failed = True
                print("%s, %s: failed: %s" % (TITLES[work], name, problem), flush=True)
        rounds.append(results)
        print("round %d of %d" % (number + 1, ROUNDS), flush=True)
    print("\nadd(a, b), %d connections at depth %d; medians of %d round%s (least–greatest)"
          % (CONNECTIONS, DEPTH, ROUNDS, "" if ROUNDS == 1 else "s"))
    print_table(rounds, works)
    print_bars(rounds, works)
    print_doubts(rounds)
    sys.exit(failed)


if __name__ == "__main__":
    main()
