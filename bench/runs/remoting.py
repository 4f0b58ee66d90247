#!/usr/bin/env python3
"""Measures remoting beside npm's: `make bench-remoting` (QUICK=1: one short round).

A call of add(a, b), 64 connections with 16 calls under way each. Over WebSocket SYNC stands
beside rpc-websockets, over TCP (a line each) beside jayson; they take turns, round by round,
so that what slows the machine for a while slows all alike. A server runs alone on core 0,
the load (its mode calls, which checks each answer) on core 1. Ratios are taken within a round.
ROUNDS=N sets the rounds (5). Prints a table.
"""
import os
import statistics
import subprocess
import sys

from shared import (QUICK, Failed, Server, begin, count_rounds, npm_version, run_load, spread,
                    table)

ROUNDS = count_rounds(5)
WARM_UP, SECONDS = (0.5, 0.7) if QUICK else (1.0, 2.0)
CONNECTIONS, DEPTH = 64, 16
BAR = 5  # times the calls of each peer
BUSY = 0.9  # of a core: who has less than this was kept from it, or waited
PEERS = "bench/peers/remoting/"
PACKAGES = "build/bench/remoting-npm/node_modules"

SYNC, OFF = "SYNC", "SYNC, JIT off"
COMMANDS = {
    SYNC: ["./sync-lua", PEERS + "sync.lua"],
    OFF: ["./sync-lua", "--jit=off", PEERS + "sync.lua"],
    "rpc-websockets": ["node", PEERS + "rpc-websockets.js"],
    "jayson": ["node", PEERS + "jayson.js"],
}
SILENCE = 10  # seconds without an answer, until that is a failure
FRAMINGS = {"ws": "ws-text", "tcp": "line"}
WORKS = {"ws": [SYNC, OFF, "rpc-websockets"], "tcp": [SYNC, OFF, "jayson"]}
TITLES = {"ws": "WebSocket", "tcp": "TCP"}


def measure(name, transport):
    """One run."""
    environment = dict(os.environ, NODE_PATH=PACKAGES, NODE_ENV="production")
    with Server(COMMANDS[name] + [transport], env=environment) as server:
        run = run_load(server, "calls", ["-f", FRAMINGS[transport], "-c", CONNECTIONS,
                                         "-d", DEPTH, "-T", SILENCE], WARM_UP, SECONDS)
    return {"rate": run["per_second"], "user_us": run["server"]["user_ns"] / 1000,
            "system_us": run["server"]["system_ns"] / 1000,
            "server_busy": run["server"]["busy"], "load_busy": run["load"]["busy"]}


def version(package):
    return npm_version(PACKAGES, package)


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
    begin()
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
