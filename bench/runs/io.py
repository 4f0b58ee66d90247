#!/usr/bin/env python3
"""Measures --io-threads: `make bench-io` (QUICK=1: one short round).

A broadcast to 1,000 clients at depth 1 and 16 by one thread and by --io-threads=1, which take
turns within each round; for each thread of the server its processor time a delivery, of Lua's
and of those that the kernel has made for it; and what all spend in a second in which nobody
says anything. Server and load share all cores. ROUNDS=N sets the rounds (5). Prints a table.
"""
import glob
import socket
import statistics
import sys
import threading
import time

from shared import QUICK, Failed, Process, begin, count_rounds, free_port, run_load, spread, table

ROUNDS = count_rounds(5)
SECONDS = 2.0 if QUICK else 4.0
WARM, MARGIN = 1.0, 0.3
CLIENTS, SILENT = 1000, 100
DEPTHS = (1, 16)
WAYS = {"one thread": ["--io=uring"], "--io-threads=1": ["--io-threads=1"]}


def spent(pid):
    """Nanoseconds of processor time of Lua's thread, and of all."""
    times = {}
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with open(path) as file:
            times[int(path.split("/")[4])] = int(file.read().split()[0])
    return times[pid], sum(times.values())


def between(pid, wait, seconds):
    """What is spent in so many seconds after a wait; a function that tells when they are over."""
    found = []

    def watch():
        time.sleep(wait)
        began, before = time.monotonic(), spent(pid)
        time.sleep(seconds)
        after, took = spent(pid), time.monotonic() - began
        found.extend((new - old) / took for new, old in zip(after, before))

    thread = threading.Thread(target=watch)
    thread.start()

    def tell():
        thread.join()
        return found
    return tell


def idle(server, port):
    """Seconds of processor time a second, while clients are silent."""
    clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(SILENT)]
    busy = between(server.pid, 0.5, 1.0)()
    for client in clients:
        client.close()
    return busy[1] / 1e9


def measure(way, depth):
    port = free_port()
    command = ["./sync-lua", "--log=error", *WAYS[way], "bench/peers/sync.lua", "broadcast", str(port)]
    with Process(command) as server:
        tell = between(server.pid, WARM + MARGIN, SECONDS - 2 * MARGIN)
        run = run_load(server, "broadcast", ["-c", CLIENTS, "-d", depth], WARM, SECONDS, port,
                       pin=False)
        lua, every = (busy / run["per_second"] for busy in tell())
        return {"rate": run["per_second"], "lua": lua, "all": every, "idle": idle(server, port)}


def row(depth, way, runs, one):
    def ratio(what):
        return spread([run[what] / beside[what] for run, beside in zip(runs, one)])
    return [str(depth), way, f"{statistics.median(run['rate'] for run in runs):,.0f}",
            spread([run["lua"] for run in runs], "{:,.0f}".format), ratio("lua"),
            spread([run["all"] for run in runs], "{:,.0f}".format), ratio("all"),
            f"{statistics.median(run['idle'] for run in runs):.1%}"]


def main():
    begin()
    results = {}
    for number in range(ROUNDS):
        for depth in DEPTHS:
            for way in WAYS:
                results.setdefault((depth, way), []).append(measure(way, depth))
        print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
    print(f"Broadcasts to {CLIENTS:,} clients; medians of {ROUNDS} rounds, least and greatest\n")
    print("\n".join(table(
        ["depth", "server", "deliveries/s", "Lua's thread, ns a delivery", "of one thread's",
         "all threads, ns", "of one thread's", "idle, of a core"],
        [row(depth, way, runs, results[depth, "one thread"])
         for (depth, way), runs in results.items()], texts=2)))


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench-io: {problem}")
