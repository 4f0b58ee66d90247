#!/usr/bin/env python3
"""Measures what TLS costs an echo: `make bench-tls` (QUICK=1: one short round).

Plain and TLS take turns within each round, on one server that has a port for each, so that
what slows the machine for a while slows both. The server runs on core 0, the load on core 1;
the load's own TLS is part of what is measured, so the server's processor time a message is
told as well. All messages are the same, so that little but TLS is measured. ROUNDS=N sets the
rounds (5). Prints a table.
"""
import os
import statistics
import subprocess
import sys
import tempfile

from shared import (SERVER_CORE, QUICK, Failed, Process, begin, count_rounds, pinned, run_load,
                    spread, table)

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


def measure(server, port, size, depth, *options):
    """Messages a second, the server's microseconds of processor time for each, and the load's
    share of a core. The NUL that ends a message counts as one of its bytes."""
    run = run_load(server, "echo", ["-c", CONNECTIONS, "-d", depth, "-s", size - 1, "--same",
                                    *options],
                   SECONDS / 5, SECONDS, port)
    spent = run["server"]["user_ns"] + run["server"]["system_ns"]
    return run["per_second"], spent / 1000, run["load"]["busy"]


def main():
    begin()
    results = {work: [] for work in WORKS}
    with tempfile.TemporaryDirectory() as folder:
        command = ["./sync-lua", "--log=error", "bench/peers/tls.lua", *certificate(folder)]
        with Process(pinned(SERVER_CORE, command), b"\n") as server:
            plain, encrypted = server.greeting.split()
            for number in range(ROUNDS):
                for size, depth in WORKS:
                    pair = [measure(server, plain, size, depth),
                            measure(server, encrypted, size, depth, "--tls")]
                    results[size, depth].append(pair)
                print(f"round {number + 1} of {ROUNDS}", file=sys.stderr)
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


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit(f"bench-tls: {problem}")
