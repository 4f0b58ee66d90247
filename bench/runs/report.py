"""Turns what peers.py measured into a table, docs/benchmarks.md and its plots."""
import datetime
import os
import platform
from statistics import median

import plot
from shared import spread

DOCS = "docs"
PERCENTILES = ["p50", "p90", "p99", "p999"]


def good(runs):
    return [run for run in runs if isinstance(run, dict)]


def failures(runs):
    return [run for run in runs if not isinstance(run, dict)]


# A figure of a run

def per_second(run):
    return run["per_second"]


def p99(run):
    return run["latency_us"]["p99"]


def memory(run):
    return run["memory"]["bytes_per_connection"]


FIGURES = {"per_second": per_second, "p99": p99, "memory": memory}


def ratios(mine, others, figure):
    """SYNC's figure divided by the peer's of the same round."""
    return [figure(a) / figure(b) for a, b in zip(mine, others)
            if isinstance(a, dict) and isinstance(b, dict) and figure(b) > 0]


# How figures are written

def number(value):
    if abs(value) >= 100:
        return "{:,.0f}".format(value)
    return "{:.1f}".format(value) if abs(value) >= 10 else "{:.2f}".format(value)


COLUMNS = {
    "echo": [("messages/s", per_second), ("user ns/message", lambda r: r["server"]["user_ns"]),
             ("system ns/message", lambda r: r["server"]["system_ns"]), ("p99 µs", p99)],
    "broadcast": [("deliveries/s", per_second),
                  ("user ns/delivery", lambda r: r["server"]["user_ns"]),
                  ("p99 µs to the last", p99)],
    "storm": [("connections/s", per_second),
              ("user µs/connection", lambda r: r["server"]["user_ns"] / 1000)],
    "rate": [("p99 µs", p99), ("p50 µs", lambda r: r["latency_us"]["p50"]),
             ("p90 µs", lambda r: r["latency_us"]["p90"]),
             ("p99.9 µs", lambda r: r["latency_us"]["p999"]), ("messages/s", per_second)],
    "idle": [("B/connection", memory),
             ("kernel B/connection, both ends",
              lambda r: r["memory"]["slab_bytes_per_connection"]),
             ("resident MiB in all", lambda r: r["server"]["rss_kib"] / 1024)],
}


def row(peer, work, found, mine):
    """The cells of one peer: its title, each column, the ratio, what went wrong."""
    columns = COLUMNS[work.mode]
    if peer.missing:
        return [peer.title] + ["missing"] + ["-"] * (len(columns) - 1) + ["-", peer.missing]
    runs = found.get(peer.name, [])
    right, wrong = good(runs), failures(runs)
    cells = [spread([columns[0][1](run) for run in right], number)]
    cells += [number(median([column(run) for run in right])) if right else "-"
              for _, column in columns[1:]]
    compared = "1" if peer.name == "sync" else spread(ratios(mine, runs, FIGURES[work.figure]))
    note = ""
    if wrong:
        note = "failed %d of %d: %s" % (len(wrong), len(runs), wrong[-1])
    elif work.mode == "rate" and median([run["per_second"] / run["wanted"]
                                         for run in right]) < 0.98:
        note = "can't keep up with this rate"
    return [peer.title] + cells + [compared, note]


def heading(work):
    return ["peer"] + [title for title, _ in COLUMNS[work.mode]] + ["SYNC ÷ peer", ""]


def rows(work, peers, raw, results):
    found = results[work.name]
    shown = work.select(peers) + ([raw] if work.raw else [])
    return [row(peer, work, found, found.get("sync", [])) for peer in shown]


def print_tables(works, peers, raw, results):
    for work in works:
        table = [heading(work)] + rows(work, peers, raw, results)
        widths = [max(len(line[i]) for line in table) for i in range(len(table[0]) - 1)]
        print("\n" + work.title)
        for line in table:
            cells = [line[0].ljust(widths[0])]
            cells += [cell.rjust(width) for cell, width in zip(line[1:-1], widths[1:])]
            print("  " + "  ".join(cells + [line[-1]]).rstrip())


def markdown(table):
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
             for line in table]
    return [lines[0], "| --- " + "| ---: " * (len(table[0]) - 2) + "| --- |"] + lines[1:]


# Bars

class Bars:
    """The bars of the issue: what was promised, and what was measured."""

    def __init__(self, results):
        self.results, self.table = results, []

    def add(self, work, bar, holds, figure):
        verdict = "not measured" if holds is None else "holds" if holds else "does not hold"
        self.table.append([work, bar, verdict, figure])

    def at_least(self, title, work, peer, factor, figure=per_second, of=""):
        found = self.results.get(work, {})
        values = ratios(found.get("sync", []), found.get(peer, []), figure)
        bar = "at least %g × %s" % (factor, of)
        self.add(title, bar, median(values) >= factor if values else None,
                 spread(values) if values else self.why(found, peer))

    @staticmethod
    def why(found, peer):
        for name in ("sync", peer):
            wrong = failures(found.get(name, []))
            if wrong:
                return "%s failed: %s" % (name, wrong[-1])
        return "no round in which both ran"

    def values(self, work, peer, figure):
        return [figure(run) for run in good(self.results.get(work, {}).get(peer, []))]

    def jit(self):
        def user(run):
            return run["server"]["user_ns"]
        found = self.results.get("echo16", {})
        values = ratios(found.get("sync-off", []), found.get("sync", []), user)
        self.add("JIT on over off, user CPU per message, echo at depth 16", "at least 7 ×",
                 median(values) >= 7 if values else None, spread(values))
        self.add("the same, game step, chat, remoting", "at least 7 × on the game step", None,
                 "by `make bench-jit`: see [jit.md](jit.md)")
        on, off = found.get("sync", []), found.get("sync-off", [])
        more = [(a["server"]["rss_kib"] - b["server"]["rss_kib"]) / 1024
                for a, b in zip(on, off) if isinstance(a, dict) and isinstance(b, dict)]
        self.add("JIT's memory, echo at depth 16", "at most 2 MiB more than off",
                 median(more) <= 2 if more else None, spread(more, number) + " MiB")

    def idle(self, title, work, most):
        values = self.values(work, "sync", memory)
        wrong = failures(self.results.get(work, {}).get("sync", []))
        said = spread(values, number) + " B" if values else "failed: " + wrong[-1] if wrong else "-"
        self.add(title, "at most %d B" % most, median(values) <= most if values else None, said)

    def websocket(self):
        for size, title in ((20, "20 B"), (1024, "1 KiB"), (16384, "16 KiB")):
            for depth in (1, 16):
                work = "ws%d-%d" % (size, depth)
                if work in self.results:
                    self.at_least("WebSocket echo, 100 connections, %s, depth %d"
                                  % (title, depth), work, "ws", 2, of="npm `ws`")

    def latency(self):
        found = self.results.get("rate", {})
        values = ratios(found.get("sync", []), found.get("uv", []), p99)
        self.add("p99 latency at half of saturation", "at most 1.2 × C on libuv",
                 median(values) <= 1.2 if values else None, spread(values))


def bars(results):
    found = Bars(results)
    depth16 = "echo, depth 16"
    found.at_least("echo, 64 connections, 64 B, NUL, depth 1", "echo1", "uv", 1.0,
                   of="C on libuv")
    found.at_least(depth16, "echo16", "raw", 0.9, of="C on libuv without framing")
    found.at_least(depth16, "echo16", "luv", 8, of="luv")
    found.at_least(depth16, "echo16", "node", 8, of="Node")
    found.at_least(depth16, "echo16", "uvloop", 1.5, of="uvloop")
    found.at_least("broadcast to 1,000, depth 1", "broadcast1", "uv", 1.0, of="C on libuv")
    found.at_least("broadcast to 1,000, depth 16", "broadcast16", "uv", 1.0, of="C on libuv")
    found.websocket()
    found.jit()
    found.idle("idle connection, byte stream, 5,000 of them", "idle5000", 700)
    found.idle("idle connection, WebSocket, 5,000 of them", "wsidle5000", 800)
    found.at_least("connections/s accepted", "storm", "uv", 1.0, of="C on libuv")
    found.latency()
    return [["work", "bar", "verdict", "measured"]] + found.table


# The document

def first_value(path, word):
    try:
        with open(path, encoding="utf-8") as file:
            for line in file:
                if line.startswith(word):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return "unknown"


def machine():
    """What was measured on, taken before the runs."""
    system = first_value("/etc/os-release", "nothing")
    try:
        with open("/etc/os-release", encoding="utf-8") as file:
            names = dict(line.rstrip().split("=", 1) for line in file if "=" in line)
            system = names.get("PRETTY_NAME", "unknown").strip('"')
    except OSError:
        pass
    return [
        ("date", datetime.date.today().isoformat()),
        ("CPU", "%s, %d cores" % (first_value("/proc/cpuinfo", "model name"), os.cpu_count())),
        ("virtual", "yes" if "hypervisor" in first_value("/proc/cpuinfo", "flags").split()
         else "no"),
        ("memory", "%d MiB" % (int(first_value("/proc/meminfo", "MemTotal").split()[0]) // 1024)),
        ("kernel", platform.release().split("-")[0]),
        ("system", system),
        ("load average before", "%.2f" % os.getloadavg()[0]),
    ]


HOW = """Server and load run on one machine over loopback, {pinning}. Each work is
done by all peers in turn, {rounds} rounds; a run warms up for {warm_up:g} s, then counts for
{seconds:g} s. The load checks every byte. Tables show the median of the rounds, and the
least and the greatest in parentheses. SYNC ÷ peer is taken within each round; in tables of
latency and memory, less than 1 is better for SYNC.

Every server cuts messages at NUL over the bounds of reads, has TCP_NODELAY on, and writes the
answers to what one read brought at once, as its platform does that. The sources are in
`bench/peers/`. The program of C on libuv is the limit: the same system calls, and no host
around them; unframed, it writes back what it read. Over WebSocket messages are text, the
handshake is made before the measuring begins, and npm `ws` is as it comes: no compression.

Memory is the growth of the server's resident set for each connection beyond the first 100,
which make a server load code and compile some, and which stay.
"""


def write_document(works, peers, raw, results, settings, facts):
    pinning = ("the server on one core and the load on another" if settings["pinned"]
               else "not pinned to cores: there is one core, or no taskset")
    text = ["# Benchmarks", "",
            "Written by `%s`, which took %.0f s." % (settings["command"], settings["took"]), ""]
    if settings["quick"]:
        text += ["**This was a quick run, to see that all works. Its figures are rough: "
                 "run `make bench` before you quote one.**", ""]
    text += [HOW.format(pinning=pinning, **settings)]
    text += ["## Bars", ""] + markdown(bars(results)) + [""]
    text += ["![Throughput by peer](benchmarks-throughput.svg)", "",
             "![Latency percentiles at a fixed rate](benchmarks-latency.svg)", "",
             "![Memory by connections](benchmarks-memory.svg)", "",
             "![WebSocket throughput by size](benchmarks-websocket.svg)", ""]
    for work in works:
        text += ["## " + work.title, ""]
        wanted = [run["wanted"] for runs in results[work.name].values() for run in good(runs)
                  if "wanted" in run]
        if wanted:
            text += ["{:,.0f} messages/s in all: half of what C on libuv echoed at depth 1 in "
                     "this run. Latency counts from when a message was due."
                     .format(wanted[0]), ""]
        text += markdown([heading(work)] + rows(work, peers, raw, results)) + [""]
    text += ["## Machine and versions", ""]
    text += ["- %s: %s" % fact for fact in facts]
    text += ["- %s: %s" % (peer.title, "missing: " + peer.missing if peer.missing
                           else peer.version) for peer in peers]
    with open(os.path.join(DOCS, "benchmarks.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text).rstrip() + "\n")


def write(works, peers, raw, results, settings, facts):
    os.makedirs(DOCS, exist_ok=True)
    print_tables(works, peers, raw, results)
    print("\nBars")
    for line in bars(results)[1:]:
        print("  %-14s %s: %s; measured %s" % (line[2], line[0], line[1], line[3]))
    plot.write(DOCS, works, peers, raw, results)
    write_document(works, peers, raw, results, settings, facts)
    print("\nWrote docs/benchmarks.md and its plots; took %.0f s." % settings["took"])
