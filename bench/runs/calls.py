#!/usr/bin/env python3
"""Measures calls of a room's members, as part of `make bench-rooms`: members who are connected to
the worker that has the room, and members who are connected to another one.

Each of CALLERS members has some calls on their way. What counts is the processor's time of both
workers for a call. The two ways take turns.
"""
import os
import re
import statistics
import subprocess
import sys
import time

QUICK = os.environ.get("QUICK") == "1"
ROUNDS = 1 if QUICK else 5
SECONDS = 2 if QUICK else 4
CALLERS = 32
DEPTHS = (1, 8)
TICK = os.sysconf("SC_CLK_TCK")


def family(pid):
    """The process and those that it has started."""
    with open(f"/proc/{pid}/task/{pid}/children") as children:
        return [pid] + [int(child) for child in children.read().split()]


def processor(pids):
    """Seconds of processor time that they have taken."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as stat:
            total += sum(int(field) for field in stat.read().rsplit(")", 1)[1].split()[11:13])
    return total / TICK


def look(load, pids):
    """Calls answered so far, and the processor's time by then."""
    line = load.stdout.readline()
    found = re.match(r"answered (\d+)", line)
    if not found:
        sys.exit(f"bench-rooms: the load said {line!r}")
    return int(found.group(1)), processor(pids)


def measure(where, depth):
    server = subprocess.Popen(["./sync-lua", "--workers=2", "bench/peers/calls.lua"],
                              stderr=subprocess.PIPE, text=True)
    load = None
    try:
        while not (found := re.search(r"listens on \S+?:(\d+)", server.stderr.readline())):
            pass
        time.sleep(1)  # both workers listen
        load = subprocess.Popen(["./sync-lua", "--log=error", "bench/peers/callers.lua",
                                 found.group(1), str(CALLERS), str(depth), where],
                                stdout=subprocess.PIPE, text=True)
        pids = family(server.pid)
        for _ in range(4):
            look(load, pids)  # compiled
        calls, before = look(load, pids)
        for _ in range(2 * SECONDS):
            after = look(load, pids)
        return (after[1] - before) / (after[0] - calls) * 1e6
    finally:
        for process in (load, server):
            if process:
                process.kill()
                process.wait()


def main():
    for depth in DEPTHS:
        found = {"here": [], "there": []}
        for _ in range(ROUNDS):
            for where, list_ in found.items():
                list_.append(measure(where, depth))
        here, there = (statistics.median(found[where]) for where in ("here", "there"))
        print(f"{CALLERS} members with {depth} calls on their way: {here:.1f} µs of CPU a call "
              f"where the room lives, {there:.1f} from another worker: {there / here:.1f} ×")


main()
