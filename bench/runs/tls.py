#!/usr/bin/env python3
"""Measures what TLS costs an echo: `make bench-tls` (QUICK=1: one short round).

Plain and TLS take turns within each round, on one server that has a port for each, so that
what slows the machine for a while slows both. The server runs on core 0, the load on core 1;
the load's own TLS is part of what is measured, so the server's processor time a message is
told as well. ROUNDS=N sets the rounds (5). Prints a table.
"""
import os
import statistics
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from runs import QUICK, count_rounds, cpu_of, pinned, spread, table  # noqa: E402

ROUNDS = count_rounds(5)
SECONDS = 0.8 if QUICK else 2.0
CONNECTIONS = 64
WORKS = [(size, depth) for size in (64, 1024, 16384) for depth in (1, 16)]
BAR_SIZE, BAR = 1024, 0.6  # at least so much of plain's throughput


def certificate(folder):
    files = os.path.join(folder, "certificate.pem"), os.path.join(folder, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                    "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                    "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-out", files[0], "-keyout", files[1]],
                   check=True, capture_output=True)
    return files


def measure(server, kind, port, size, depth):
    """Messages a second, and the server's microseconds of processor time for each."""
    before = cpu_of(server.pid)
    load = subprocess.run(
        pinned(1, ["build/bench/secure", kind, str(port), str(CONNECTIONS), str(depth),
                   str(size), str(SECONDS)]), capture_output=True, text=True, timeout=60)
    if load.returncode != 0:
        sys.exit(f"bench-tls: {kind}, {size} bytes, depth {depth}: {load.stderr.strip()}")
    messages, seconds, load_cpu = map(float, load.stdout.split())
    # The warm-up is a fifth more, and the handshakes are in it.
    spent = (cpu_of(server.pid) - before) / 1.2
    return messages / seconds, spent / messages * 1e6, load_cpu / seconds


def main():
    results = {work: [] for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            pinned(0, ["./sync-lua", "--log=error", "bench/secure/server.lua",
                       *certificate(folder)]), stdout=subprocess.PIPE, text=True)
        try:
            plain, encrypted = map(int, server.stdout.readline().split())
            for number in range(ROUNDS):
                for size, depth in WORKS:
                    pair = [measure(server, "plain", plain, size, depth),
                            measure(server, "tls", encrypted, size, depth)]
                    results[size, depth].append(pair)
                print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
        finally:
            server.terminate()
            server.wait()
    print(f"TLS 1.3 beside plain: echo, {CONNECTIONS} connections, medians of {ROUNDS} rounds\n")
    head = ["bytes", "depth", "plain /s", "TLS /s", "TLS ÷ plain", "server µs, plain",
            "server µs, TLS", "load's core, TLS"]
    rows = []
    held = True
    for (size, depth), pairs in results.items():
        ratios = [tls[0] / plain[0] for plain, tls in pairs]
        ratio = statistics.median(ratios)
        if size == BAR_SIZE:
            held = held and ratio >= BAR
        median = lambda which, what: statistics.median(pair[which][what] for pair in pairs)
        rows.append([str(size), str(depth), f"{median(0, 0):,.0f}", f"{median(1, 0):,.0f}",
                     spread(ratios), f"{median(0, 1):.1f}", f"{median(1, 1):.1f}",
                     f"{median(1, 2):.0%}"])
    print("\n".join(table(head, rows, texts=0)))
    print(f"\nBar: at least {BAR} of plain at {BAR_SIZE} bytes: {'holds' if held else 'does not hold'}")


main()
