#!/usr/bin/env python3
"""Measures large rooms: `make bench-rooms` (QUICK=1: one short round).

One client sends, 10,000 get it (CLIENTS=N): messages of 64 B, 1 KiB and 16 KiB, at a fixed rate
for each size, plain, over WebSocket with permessage-deflate, and in TLS. Latency counts from when
a message was due to each delivery; the longest is to the last. The works take turns within
each round; the server runs on core 0, the load, whose own TLS is part of what is measured, on core
1. ROUNDS=N sets the rounds (5). Prints a table.
"""
import os
import statistics
import sys
import tempfile

from shared import (SERVER_CORE, QUICK, Failed, Process, begin, count_rounds, pinned, run_load,
                    spread, table)
from tls import certificate

ROUNDS = count_rounds(5)
SECONDS = 2.0 if QUICK else 8.0
CLIENTS = int(os.environ.get("CLIENTS", 1000 if QUICK else 10000))
RATES = {64: 10, 1024: 5, 16384: 1}  # messages/s
FORMS = {"plain": ["-f", "null"], "WebSocket": ["-f", "ws-text"],
         "deflated": ["-f", "ws-text", "--deflate"], "TLS": ["-f", "null", "--tls"]}


def peak_kib(pid):
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:"))


def measure(files, form, size):
    command = ["./sync-lua", "--log=error", "bench/peers/rooms.lua", *files]
    with Process(pinned(SERVER_CORE, command), b"\n") as server:
        plain, encrypted = server.greeting.split()
        run = run_load(server, "room", ["-c", CLIENTS, "-s", size - 1, "-r", RATES[size], "-T",
                                        20, *FORMS[form]],
                       1.5, SECONDS, encrypted if form == "TLS" else plain, 200)
        run["peak"] = peak_kib(server.pid)
        return run


def row(form, size, runs):
    def middle(figure):
        return statistics.median(figure(run) for run in runs)
    offered = RATES[size] * CLIENTS
    share = middle(lambda run: run["per_second"]) / offered
    return [f"{size:,} B", form, f"{offered:,}", f"{share:.0%}",
            spread([run["server"]["user_ns"] + run["server"]["system_ns"] for run in runs],
                   "{:,.0f}".format),
            f"{middle(lambda run: run['server']['user_ns']):,.0f}",
            spread([run["latency_us"]["p50"] / 1000 for run in runs], "{:,.1f}".format),
            spread([run["latency_us"]["max"] / 1000 for run in runs], "{:,.1f}".format),
            f"{middle(lambda run: run['peak']) / 1024:.0f}",
            f"{middle(lambda run: run['server']['busy']):.0%}",
            f"{middle(lambda run: run['load']['busy']):.0%}"]


def main():
    begin()
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        files = certificate(folder)
        for number in range(ROUNDS):
            for size in RATES:
                for form in FORMS:
                    results.setdefault((form, size), []).append(measure(files, form, size))
            print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    print(f"Broadcasts to {CLIENTS:,} clients, medians of {ROUNDS} rounds, least and greatest\n")
    print("\n".join(table(
        ["message", "form", "deliveries/s offered", "arrive", "CPU ns/delivery", "user ns",
         "p50 ms", "to the last, ms", "peak MiB", "server's core", "load's core"],
        [row(form, size, runs) for (form, size), runs in results.items()], texts=2)))


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench-rooms: {problem}")
