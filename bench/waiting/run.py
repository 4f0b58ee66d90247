#!/usr/bin/env python3
"""Measures what handlers that wait cost others, beside the bars of each: make bench-waits.

QUICK=1 takes shorter rounds; names of parts (logins, postgres, ...) leave out the others. What needs a program that isn't there is skipped, and said so.
Ends with 1 when a bar is missed."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import glob

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SYNC = os.environ.get("SYNC_LUA", "./sync-lua")
SECONDS = "3" if os.environ.get("QUICK") else "10"
BAR = 5.0  # ms: the echo's p99
missed = []


def run(*words, **more):
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=300, **more)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def judge(name, value, bar, holds, more=""):
    if not holds:
        missed.append(name)
    print(f"{name}: {value} (bar {bar}){': MISSED' if not holds else ''}{more}", flush=True)


ROUNDS = 1 if os.environ.get("QUICK") else 3  # the machine is noisy: medians


def beside(case, prefix=()):
    times = []
    for _ in range(ROUNDS):
        text = run(*prefix, SYNC, "bench/waiting/beside.lua", case, SECONDS).strip()
        print("  " + text, flush=True)
        times.append(float(re.search(r"p99 ([\d.]+)", text)[1]))
    p99 = sorted(times)[len(times) // 2]
    judge(f"echo p99 beside {case}", f"{p99} ms", f"{BAR} ms", p99 < BAR)


def beside_dns():
    """A name server that takes questions and answers none, in a mount namespace of our own."""
    if os.geteuid() != 0 or not shutil.which("unshare"):
        print("beside dns: skipped, it needs root and unshare for a resolv.conf of its own")
        return
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        conf.write("nameserver 127.0.0.153\noptions timeout:5 attempts:2\n")
        conf.flush()
        silent = subprocess.Popen([sys.executable, "-c",
            "import socket, time\n"
            "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
            "s.bind(('127.0.0.153', 53))\n"
            "time.sleep(300)"])
        try:
            beside("dns", ("unshare", "-m", "sh", "-c",
                f"mount --bind {conf.name} /etc/resolv.conf && exec \"$@\"", "sh"))
        finally:
            silent.kill()
            silent.wait()


def sqlite():
    text = run(SYNC, "bench/waiting/sqlite.lua")
    ours = float(re.search(r"([\d.]+) reads/s", text)[1])
    file = text.strip().rsplit("; ", 1)[1]
    try:
        loop = os.path.join(tempfile.gettempdir(), f"sync-sqlite-loop-{os.getpid()}")
        run("cc", "-O2", "bench/waiting/sqlite.c", "-o", loop, "-lsqlite3")
        theirs = float(re.search(r"([\d.]+) reads/s", run(loop, file))[1])
    finally:
        for name in [loop, *glob.glob(file + "*")]:
            if os.path.exists(name):
                os.remove(name)
    bar = min(100000, 0.25 * theirs)
    judge("SQLite point reads, 64 waiting", f"{ours:.0f}/s", f"{bar:.0f}/s", ours >= bar,
          f"; the C API in a loop {theirs:.0f}/s")


def selects(url):
    """Messages a second of 64 clients, each of which is answered when its select is."""
    program = subprocess.Popen([SYNC, "bench/waiting/postgres.lua", url], cwd=ROOT, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        port = program.stdout.readline().strip()
        text = run("build/bench/load", "echo", "--json", "-c", "64", "-t", "5",
                   f"127.0.0.1:{port}")
        return json.loads(text)["per_second"]
    finally:
        program.kill()
        program.wait()


def postgres():
    folder = (glob.glob("/usr/lib/postgresql/*/bin") or [""])[-1]
    pgbench = shutil.which("pgbench") or os.path.join(folder, "pgbench")
    if not os.path.exists(pgbench):
        print("PostgreSQL: skipped, there is no pgbench")
        return
    server = subprocess.Popen([SYNC, "bench/waiting/serve_postgres.lua"], cwd=ROOT, text=True,
                              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        url = server.stdout.readline().strip()
        run(pgbench, "-i", "-q", "-s", "1", url)
        ratios = []
        for _ in range(1 if os.environ.get("QUICK") else 5):  # pairs, as the machine is noisy
            theirs = float(re.search(r"tps = ([\d.]+) \(without",
                run(pgbench, "-S", "-M", "prepared", "-c", "64", "-j", "1", "-T", "5", "-n", url))[1])
            ours = selects(url)
            print(f"  {ours:.0f}/s beside pgbench's {theirs:.0f}/s", flush=True)
            ratios.append(ours / theirs)
        ratio = sorted(ratios)[len(ratios) // 2]
        judge("PostgreSQL, select by key from handlers of 64 clients", f"{ratio:.2f} x pgbench",
              "0.6 x", ratio >= 0.6, "; the median of pairs")
    finally:
        server.stdin.close()
        server.wait()


def plain():
    """What a handler that doesn't wait costs in a program with others that do."""
    if not shutil.which("valgrind"):
        print("a handler that doesn't wait: skipped, there is no valgrind")
        return
    text = run(sys.executable, "-B", "bench/instructions/run.py",
               env={**os.environ, "ONLY": "echo-null,beside-null"})
    alone, beside_all = (float(re.search(rf"{name}-null\W+all\W+([\d.]+)", text)[1])
                         for name in ("echo", "beside"))
    judge("instructions of a handler that doesn't wait", f"{beside_all / alone:.3f} x", "1.01 x",
          beside_all / alone <= 1.01, f"; {beside_all:.0f} and {alone:.0f} a message")


only = sys.argv[1:]  # names of parts; all without


def part(name, fn, *arguments):
    if not only or name in only:
        fn(*arguments)


part("plain", plain)
part("idle", beside, "idle")
part("logins", beside, "logins")
part("stopped", beside, "postgres")
part("http", beside, "http")
part("dns", beside_dns)
part("sqlite", sqlite)
part("postgres", postgres)
if missed:
    sys.exit("missed: " + ", ".join(missed))
