#!/usr/bin/env python3
"""Measures what a live heap costs: `make bench-heap` (QUICK=1: one short round).

64 clients send 20,000 messages a second in all, on top of no, 100,000 and 1,000,000 objects
that live, one of which each message replaces: strings that all differ, or tables. Latency
counts from when a message was due. SYNC and Node.js take turns within each round; the server
runs on core 0, the load on core 1. ROUNDS=N sets the rounds (5). Prints a table.
"""
import statistics
import sys

from shared import QUICK, Failed, Server, begin, count_rounds, run_load, spread, table

ROUNDS = count_rounds(5)
SECONDS = 2.0 if QUICK else 10.0  # a collection of a million objects takes some
RATE = 20000
COUNTS = (0, 100000, 1000000)
PEERS = {"SYNC": ["./sync-lua", "--log=error", "bench/peers/heap.lua"],
         "Node.js": ["node", "bench/peers/heap.js"]}
WORKS = [(kind, count) for count in COUNTS for kind in ("tables", "strings") if count or
         kind == "tables"]


def measure(command, kind, count):
    with Server(command + [kind, str(count)]) as server:
        return run_load(server, "rate", ["-c", "64", "-s", "64", "-r", RATE], 1.0, SECONDS)


def row(name, kind, count, runs):
    def of(figure):
        return spread([figure(run) for run in runs], "{:,.2f}".format)
    cpu = statistics.median(run["server"]["user_ns"] + run["server"]["system_ns"] for run in runs)
    return [f"{count:,} {kind}" if count else "none", name,
            of(lambda run: run["latency_us"]["p99"] / 1000),
            of(lambda run: run["latency_us"]["p999"] / 1000),
            of(lambda run: run["latency_us"]["max"] / 1000), f"{cpu / 1000:.1f}",
            f"{statistics.median(run['server']['rss_kib'] for run in runs) / 1024:.0f}"]


def main():
    begin()
    results = {}
    for number in range(ROUNDS):
        for kind, count in WORKS:
            for name, command in PEERS.items():
                run = measure(command, kind, count)
                results.setdefault((name, kind, count), []).append(run)
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    print(f"{RATE:,} messages/s of 64 clients, medians of {ROUNDS} rounds, least and greatest\n")
    print("\n".join(table(["live objects", "peer", "p99 ms", "p99.9 ms", "longest ms",
                           "CPU µs/message", "MiB"],
                          [row(name, kind, count, runs)
                           for (name, kind, count), runs in results.items()], texts=2)))


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench-heap: {problem}")
