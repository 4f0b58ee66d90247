#!/usr/bin/env python3
"""Measures examples/central with 500 bots: `make bench-central` (BOTS=500, SECONDS=20).

The server runs on core 0, the bots on core 1, each moving ten times a second. What is told
comes from the server's own panel: the differences between two looks at /panel.json. Fails
when the game's clock is late by 5 ms or more at the 99th percentile, or when a bot is
missing.
"""
import json
import os
import re
import subprocess
import sys
import time
import urllib.request

from shared import begin, pinned

BOTS = int(os.environ.get("BOTS") or 500)
SECONDS = float(os.environ.get("SECONDS") or 20)
TOKEN = "bench-central-token"
BAR = 0.005  # seconds


def panel(port):
    url = f"http://127.0.0.1:{port}/panel.json?token={TOKEN}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)


def percentile(before, after, name, share):
    """The end of the bucket that holds it, in seconds."""
    old, new = before.get(name, []), after[name]
    counts = [count - (old[i] if i < len(old) else 0) for i, count in enumerate(new)]
    wanted, seen = share * sum(counts), 0
    for i, count in enumerate(counts):
        seen += count
        if seen >= wanted and seen > 0:
            return after["bucketEnds"][i]
    sys.exit("bench-central: nothing was counted")


def main():
    begin()
    environment = dict(os.environ, CENTRAL_HOST="127.0.0.1", CENTRAL_PORT="0",
                       CENTRAL_PANEL=TOKEN)
    server = subprocess.Popen(pinned(0, ["./sync-lua", "examples/central/main.lua"]),
                              stderr=subprocess.PIPE, text=True, env=environment)
    bots = None
    try:
        line = server.stderr.readline()
        port = int(re.search(r"Central listens on \S+:(\d+)", line).group(1))
        bots = subprocess.Popen(
            pinned(1, ["./sync-lua", "--log=error", "examples/central/bots.lua", str(BOTS),
                       f"tcp://127.0.0.1:{port}"]))
        limit = time.monotonic() + 60
        while panel(port)["clients"] < BOTS:
            if time.monotonic() > limit or bots.poll() is not None:
                sys.exit(f"bench-central: not all of the {BOTS} bots came")
            time.sleep(0.5)
        time.sleep(5)  # joined, and compiled
        before = panel(port)
        time.sleep(SECONDS)
        after = panel(port)
    finally:
        for process in (bots, server):
            if process:
                process.terminate()
                process.wait()
    seconds = after["now"] - before["now"]
    rate = lambda name: (after[name] - before[name]) / seconds
    late = percentile(before, after, "timersLate", 0.99)
    milliseconds = lambda name, share: percentile(before, after, name, share) * 1000
    print(f"{after['clients']} bots for {seconds:.0f} s")
    print(f"messages in       {rate('messagesIn'):12,.0f} /s")
    print(f"messages out      {rate('messagesOut'):12,.0f} /s")
    print(f"bytes out         {rate('bytesOut') / 2**20:12.1f} MiB/s")
    print(f"processor         {rate('cpu'):12.0%} of a core")
    print(f"memory            {after['memory'] / 2**20:12.1f} MiB")
    for name, title in (("timersLate", "clock is late"), ("tickTimes", "a tick takes")):
        print(f"{title:17} p50 {milliseconds(name, 0.5):6.2f} ms, p99 {milliseconds(name, 0.99):6.2f} ms,"
              f" most {milliseconds(name, 1):6.2f} ms")
    sent = rate("messagesIn") / BOTS
    if after["clients"] < BOTS or sent < 9:
        sys.exit(f"bench-central: {after['clients']} bots sent {sent:.1f} messages a second each")
    holds = late < BAR
    print(f"bar: p99 of the clock's lateness under {BAR * 1000:.0f} ms: "
          f"{'holds' if holds else 'does not hold'}")
    sys.exit(0 if holds else 1)


main()
