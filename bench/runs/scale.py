#!/usr/bin/env python3
"""Measures what several processes are worth: `make bench-scale` (QUICK=1: two minutes).

First what two workers do beside one, with as much load as they take: a handler that
computes, and broadcasts to 2,000 clients. Then what a delivery costs in rooms at a fixed
rate, alone, by workers and by nodes over Redis, and beside Socket.IO over the same Redis. All
take turns, round by round, and ratios are taken within a round, so that what slows the
machine for a while slows all alike. Nothing is pinned: the point is that workers use all
cores, of which the load takes its part.

CPU is that of all server processes, workers' parent and Redis included, read from /proc while
the load counts. ROUNDS=N sets the rounds (5), ONLY=1,2,3 the parts (bar 4 is told with 3).
Prints tables and verdicts; writes docs/scaling-bus.svg.
"""
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time

import scale_draw
from shared import (LOAD, QUICK, TICK, Failed, Process, begin, count_rounds, cpu_of, free_port,
                    last_line, npm_version, spread, table)

ROUNDS = count_rounds(5)
ONLY = os.environ.get("ONLY") or "1,2,3"
WARM_UP, SECONDS = (1.0, 1.5) if QUICK else (2.0, 4.0)
PEERS = "bench/peers/scale/"
PACKAGES = "build/bench/scale-npm/node_modules"
CORES = len(os.sched_getaffinity(0))
SAMPLE = 0.05   # seconds between looks at /proc
ENVIRONMENT = dict(os.environ, NODE_PATH=os.path.abspath(PACKAGES), NODE_ENV="production")
TRIM = 0.1      # of the measured time, at both ends: the load's end is known to some ms
KEEPS_UP = 0.98 # of the rate that is wanted
DISTURBED = 0.1 # of a core that other programs had: such rounds are no proof
UNEVEN = 0.5    # of an even share of clients: a process that has less is told of
BAR_WORK, BAR_SOCKETIO = 1.8, 5


# Processes, as /proc shows them

def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def cpu_of_machine():
    """Seconds that its processors were busy, or given to other machines."""
    with open("/proc/stat") as stat:
        user, nice, system, _, _, irq, softirq, steal = map(int, stat.readline().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / TICK


def count_files(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


class Watch(threading.Thread):
    """Notes what processes have used, again and again until they are let go."""

    def __init__(self, pids, serving):
        super().__init__(daemon=True)
        self.pids, self.serving, self.done = pids, serving, threading.Event()
        self.samples, self.files = [], {}

    def run(self):
        try:
            while not self.done.wait(SAMPLE):
                self.look()
        except (OSError, IndexError):
            pass  # a process has ended: the load, unless `between` finds too few samples

    def look(self):
        used = {pid: cpu_of(pid) for pid in self.pids}
        if len(self.samples) % 10 == 0:  # of 2,000 files a list costs some time
            for pid in self.serving:
                self.files[pid] = max(self.files.get(pid, 0), count_files(pid))
        self.samples.append((time.monotonic(), used, cpu_of_machine()))

    def between(self, start, end):
        """Cores that each has used, by pid, and those that the machine has."""
        chosen = [sample for sample in self.samples if start <= sample[0] <= end]
        if len(chosen) < 2 or chosen[-1][0] - chosen[0][0] < (end - start) / 2:
            raise Failed("a process ended, or /proc could not be read in time")
        (first, used, machine), (last, used_later, machine_later) = chosen[0], chosen[-1]
        return ({pid: (used_later[pid] - used[pid]) / (last - first) for pid in self.pids},
                (machine_later - machine) / (last - first))


# Servers

class Setup:
    """Servers that act as one: `count` processes of a kind."""

    def __init__(self, name, title, kind, count):
        self.name, self.title, self.kind, self.count = name, title, kind, count

    def commands(self, mode, ports, url):
        if self.kind == "socketio":
            return [["node", PEERS + "socketio.js", str(port), url] for port in ports]
        workers = [f"--workers={self.count}"] if self.kind == "workers" else []
        engine = [url] if url else []
        return [["./sync-lua", "--log=error"] + workers + [PEERS + "sync.lua", mode, str(port)] +
                engine for port in ports]

    def needs_redis(self):
        return self.kind in ("redis", "socketio")

    def process_count(self):
        return 1 if self.kind == "workers" else self.count


ALONE = Setup("alone", "SYNC, one process", "alone", 1)
WORKERS = [Setup(f"workers{n}", f"SYNC, {n} worker{'s' * (n > 1)}", "workers", n) for n in (1, 2, 4)]
NODES = [Setup(f"redis{n}", f"SYNC over Redis, {n} node{'s' * (n > 1)}", "redis", n) for n in (1, 2, 4)]
SOCKETIO = Setup("socketio2", "Socket.IO over Redis, 2 processes", "socketio", 2)


class Servers:
    """A setup that runs, for as long as the `with` lasts."""

    def __init__(self, setup, mode):
        self.setup, self.mode, self.processes, self.redis = setup, mode, [], None

    def __enter__(self):
        try:
            self.start()
        except (OSError, Failed) as problem:
            self.__exit__()
            raise Failed(str(problem)) from None
        return self

    def start(self):
        self.folder = tempfile.TemporaryDirectory()
        url = self.start_redis() if self.setup.needs_redis() else None
        self.ports = [free_port() for _ in range(self.setup.process_count())]
        times = self.setup.count if self.setup.kind == "workers" else 1
        for command in self.setup.commands(self.mode, self.ports, url):
            self.processes.append(Process(command, b"ready\n", times, env=ENVIRONMENT))
        for process in self.processes:
            process.wait()
        self.parents, self.serving = [], [process.pid for process in self.processes]
        if self.setup.kind == "workers":
            self.parents, self.serving = self.serving, children(self.serving[0])
        if len(self.serving) != self.setup.count:
            raise Failed(f"{len(self.serving)} of {self.setup.count} processes serve")
        self.files = {pid: count_files(pid) for pid in self.serving}

    def start_redis(self):
        port = free_port()
        self.redis = Process(["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "",
                              "--appendonly", "no"], b"Ready to accept", cwd=self.folder.name)
        self.redis.wait()
        return f"redis://127.0.0.1:{port}"

    def pids(self):
        return self.serving + self.parents + ([self.redis.pid] if self.redis else [])

    def least_share(self, clients, files):
        """Of clients, that a process had, by the files that were open; 1 is an even share."""
        least = min(files.get(pid, 0) - self.files[pid] for pid in self.serving)
        if least <= 0:
            raise Failed(f"one of {self.setup.count} processes had none of {clients} clients")
        return least * self.setup.count / clients

    def __exit__(self, *_):
        for process in self.processes + ([self.redis] if self.redis else []):
            process.end()
        self.folder.cleanup()


# Works

class Work:
    """What the load does, to a mode of SYNC's server."""

    def __init__(self, name, title, mode, clients, setups, load, options, rate=None):
        self.name, self.title, self.mode, self.clients = name, title, mode, clients
        self.setups, self.load, self.options, self.rate = setups, load, options, rate

    def command(self, setup, ports):
        mode, path = self.load, "/"
        if setup.kind == "socketio":
            mode, path = "socketio", "/socket.io/?EIO=4&transport=websocket"
        targets = [f"127.0.0.1:{port}" + (path if self.rate else "") for port in ports]
        return [LOAD, mode, *targets, "-c", str(self.clients), "-t", str(SECONDS),
                "-w", str(WARM_UP), "--json"] + self.options


def room(name, clients, rate, burst=1, size=64):
    """A work at a fixed rate; `rate` is of deliveries to each client."""
    often = f"{rate // burst:,} times a second" + (f" {burst} messages at once" if burst > 1 else "")
    title = f"A room of {clients:,}, {often}: {clients * rate:,} deliveries/s of {size} B"
    return Work(name, title, "room", clients, [ALONE] + WORKERS[1:] + NODES + [SOCKETIO],
                "room", ["-f", "ws-text", "-s", str(size), "-r", str(rate), "-b", str(burst)],
                clients * rate)


COMPUTE = Work("compute", "A handler that computes, 64 connections, 4 messages in flight on each",
               "work", 64, [WORKERS[0], WORKERS[1]], "echo", ["-d", "4"])
BROADCASTS = [Work(f"broadcast{depth}", f"Broadcast to 2,000 clients, 1 sender, depth {depth}", "all",
                   2000, [ALONE, WORKERS[1]], "broadcast", ["-d", str(depth)])
              for depth in (1, 16)]
ROOMS = [room("large", 1000, 40), room("small", 20, 1000), room("bursts", 300, 200, burst=10)]
PARTS = {"1": [COMPUTE], "2": BROADCASTS, "3": ROOMS}


def run_load(command, servers):
    """What the load reported, its process, when it ended, and what was used until then."""
    load = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    watch = Watch(servers.pids() + [load.pid, os.getpid()], servers.serving)
    watch.start()
    try:
        out, err = load.communicate(timeout=WARM_UP + SECONDS + 60)
    except subprocess.TimeoutExpired:
        load.kill()
        load.communicate()
        raise Failed("the load did not end") from None
    finally:
        ended = time.monotonic()
        watch.done.set()
        watch.join()
    if load.returncode != 0:
        raise Failed(last_line(err))
    return json.loads(out), load.pid, ended, watch


def measure(setup, work):
    """One run."""
    with Servers(setup, work.mode) as servers:
        said, load, ended, watch = run_load(work.command(setup, servers.ports), servers)
        used, machine = watch.between(ended - (1 - TRIM) * said["seconds"],
                                      ended - TRIM * said["seconds"])
        if work.rate and said["per_second"] < KEEPS_UP * work.rate:
            raise Failed(f"can't keep up: {said['per_second']:,.0f} deliveries a second")
        serving = sum(used[pid] for pid in servers.serving)
        cpu = sum(used[pid] for pid in servers.pids())
        if cpu <= 0:
            raise Failed("no processor time was measured")
        return {"per_second": said["per_second"], "per_cpu": said["per_second"] / cpu,
                "cost": cpu / said["per_second"] * 1e6, "serving": serving, "bus": cpu - serving,
                "load": used[load], "others": machine - sum(used.values()),
                "p99": said["latency_us"]["p99"],
                "share": servers.least_share(work.clients, watch.files)}


# Telling

def runs_of(results, work, setup):
    return [run for run in results[work.name].get(setup.name, []) if run]


def pairs(results, work, one, other):
    """The runs of two setups, round by round, where both gave figures."""
    found = results[work.name]
    return [pair for pair in zip(found.get(one.name, []), found.get(other.name, [])) if all(pair)]


def ratios(results, work, one, other, figure):
    return [a[figure] / b[figure] for a, b in pairs(results, work, one, other)]


def row(results, work, setup):
    runs = runs_of(results, work, setup)
    if not runs:
        return [setup.title, "-"] + ["-"] * 8
    first = work.setups[0]

    def median(key):
        return statistics.median(run[key] for run in runs)

    def compared(figure):
        return "1" if setup is first else spread(ratios(results, work, setup, first, figure))
    return [setup.title, f"{median('per_second'):,.0f}", compared("per_second"),
            f"{median('per_cpu'):,.0f}", compared("per_cpu"), f"{median('cost'):.2f}",
            f"{median('serving'):.0%}", f"{median('bus'):.0%}", f"{median('load'):.0%}",
            f"{median('p99') / 1000:,.1f}"]


def print_table(results, work):
    what = "messages" if work is COMPUTE else "deliveries"
    head = ["servers", f"{what}/s", "÷ first", f"{what} a CPU second", "÷ first", "CPU, µs each",
            "serving, of a core", "parent, Redis", "load", "p99, ms"]
    rows = [row(results, work, setup) for setup in work.setups]
    print(f"\n{work.title}\n\n" + "\n".join(table(head, rows)))


def is_disturbed(run):
    return run["others"] > DISTURBED


def print_bar(results, work, what, one, other, figure, least):
    """`least` of None: anything that is more than 1."""
    found = pairs(results, work, one, other)
    values = [a[figure] / b[figure] for a, b in found if not is_disturbed(a) and not is_disturbed(b)]
    verdict = spread([a[figure] / b[figure] for a, b in found]) + ", not judged"
    if values:
        median = statistics.median(values)
        holds = median >= least if least else median > 1
        verdict = spread(values) + ", " + ("holds" if holds else "does not hold")
    print(f"Bar: {what}: {verdict}, by {len(values)} of {ROUNDS} rounds undisturbed")


def print_bars(results):
    print()
    if COMPUTE.name in results:
        print_bar(results, COMPUTE, f"two workers compute at least {BAR_WORK} × what one does",
                  WORKERS[1], WORKERS[0], "per_second", BAR_WORK)
    for work in BROADCASTS:
        if work.name in results:
            print_bar(results, work, f"{work.title}: two workers beat one process", WORKERS[1], ALONE,
                      "per_second", None)
    for work in ROOMS:
        if work.name in results:
            print_bar(results, work, f"{work.title}: over Redis, two nodes' deliveries a CPU second at "
                      f"least {BAR_SOCKETIO} × Socket.IO's", NODES[1], SOCKETIO, "per_cpu",
                      BAR_SOCKETIO)


def print_doubts(results):
    runs = [run for work in results.values() for found in work.values() for run in found if run]
    disturbed = sum(is_disturbed(run) for run in runs)
    if disturbed:
        print(f"In {disturbed} of {len(runs)} runs other programs had more than {DISTURBED:.0%} of "
              f"a core, at most {max(run['others'] for run in runs):.0%}.")
    uneven = [run["share"] for run in runs if run["share"] < UNEVEN]
    if uneven:
        print(f"In {len(uneven)} of {len(runs)} runs a process had less than {UNEVEN} of an even "
              f"share of the clients, at worst {min(uneven):.2f}.")
    if CORES < 2:
        print("There is one core: workers can't be faster than one process here.")


# What there is to measure

def first_line(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20)
        return (done.stdout + done.stderr).strip().splitlines()[0]
    except (OSError, IndexError, subprocess.TimeoutExpired):
        return None


def missing_kinds():
    """Says what is measured, and returns kinds of setups that can't run."""
    packages = {name: npm_version(PACKAGES, name) for name in ("socket.io", "@socket.io/redis-adapter", "redis", "ws")}
    tools = {"redis-server": first_line(["redis-server", "--version"]),
             "node": first_line(["node", "--version"])}
    for name, found in {**tools, **packages}.items():
        print(f"{name}: {found or 'is missing'}")
    print(first_line(["./sync-lua", "--version"]))
    missing = set()
    if not tools["redis-server"]:
        missing |= {"redis", "socketio"}
    if not tools["node"] or not all(packages.values()):
        missing.add("socketio")
    if missing:
        print("not measured: " + ", ".join(sorted(missing)))
    return missing


def run_round(works, missing, results):
    """Measures every setup of every work once. Returns whether all gave figures."""
    fine = True
    for work in works:
        for setup in work.setups:
            run = None
            if setup.kind not in missing:
                try:
                    run = measure(setup, work)
                except Failed as problem:
                    fine = False
                    print(f"{work.title}: {setup.title}: failed: {problem}", flush=True)
            results[work.name].setdefault(setup.name, []).append(run)
    return fine


def main():
    begin()
    began = time.monotonic()
    missing = missing_kinds()
    works = [work for part in PARTS if part in ONLY.split(",") for work in PARTS[part]]
    results, fine = {work.name: {} for work in works}, True
    for number in range(ROUNDS):
        fine = run_round(works, missing, results) and fine
        print(f"round {number + 1} of {ROUNDS}", flush=True)
    print(f"\n{CORES} cores, medians of {ROUNDS} round{'s' * (ROUNDS > 1)} (least–greatest); "
          f"took {time.monotonic() - began:.0f} s")
    for work in works:
        print_table(results, work)
    print_bars(results)
    print_doubts(results)
    rooms = [work for work in ROOMS if work in works]
    if rooms:
        scale_draw.write("docs/scaling-bus.svg", rooms, results, QUICK)
    sys.exit(0 if fine else 1)


if __name__ == "__main__":
    main()
