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


def user(run):
    return run["server"]["user_ns"]


def system(run):
    return run["server"]["system_ns"]


def cpu(run):
    """The server's time for each message, in ns."""
    return user(run) + system(run)


def server_busy(run):
    return 100 * run["server"]["busy"]


def load_busy(run):
    return 100 * run["load"]["busy"]


FIGURES = {"per_second": per_second, "p99": p99, "memory": memory, "cpu": cpu}

DECIDES = 5        # rounds that a verdict needs
LOAD_IS_LIMIT = 95 # % of a core


def ratios(mine, others, figure):
    """SYNC's figure divided by the peer's of the same round."""
    return [figure(a) / figure(b) for a, b in zip(mine, others)
            if isinstance(a, dict) and isinstance(b, dict) and figure(b) > 0]


# How figures are written

def number(value):
    if abs(value) >= 100:
        return "{:,.0f}".format(value)
    return "{:.1f}".format(value) if abs(value) >= 10 else "{:.2f}".format(value)


# What it costs, the figure that decides: with its ratio in every table.
COST = [("user ns", user), ("system ns", system), ("server %", server_busy), ("load %", load_busy)]
LATENCY = [("p50 µs", lambda r: r["latency_us"]["p50"]), ("p99 µs", p99),
           ("p99.9 µs", lambda r: r["latency_us"]["p999"])]
COLUMNS = {
    "echo": [("messages/s", per_second)] + COST + [("p99 µs", p99)],
    "room": [("CPU ns/delivery", cpu), ("deliveries/s", per_second)] + COST + LATENCY,
    "hold": [("deliveries/s", per_second)] + COST + LATENCY[:2],
    "storm": [("connections/s", per_second)] + COST,
    "rate": LATENCY[1:2] + LATENCY[:1] + LATENCY[2:] + [("messages/s", per_second)] + COST,
    "idle": [("B/connection", memory),
             ("kernel B/connection, both ends",
              lambda r: r["memory"]["slab_bytes_per_connection"]),
             ("resident MiB in all", lambda r: r["server"]["rss_kib"] / 1024)],
}
SPREAD = {"p50 µs", "p99 µs", "p99.9 µs", "CPU ns/delivery"}  # columns that show it, too


def is_load_limit(runs):
    return bool(runs) and median([load_busy(run) for run in runs]) >= LOAD_IS_LIMIT


def note_of(work, right, wrong, runs):
    if wrong:
        return "failed %d of %d: %s" % (len(wrong), len(runs), wrong[-1])
    if work.mode in ("rate", "room") and median([run["per_second"] / run["wanted"]
                                                 for run in right]) < 0.98:
        return "can't keep up with this rate"
    if work.mode != "idle" and is_load_limit(right):
        return "the load is the limit"
    return ""


def row(peer, work, found, mine):
    """The cells of one peer: its title, each column, the ratio, what went wrong."""
    columns = COLUMNS[work.mode]
    if peer.missing:
        ratio_count = len(heading(work)) - len(columns) - 2
        return [peer.title, "missing"] + ["-"] * (len(columns) - 1 + ratio_count) + [peer.missing]
    runs = found.get(peer.name, [])
    right, wrong = good(runs), failures(runs)

    def cell(title, column, is_first):
        values = [column(run) for run in right]
        if is_first or title in SPREAD:
            return spread(values, number)
        return number(median(values)) if values else "-"
    cells = [cell(title, column, i == 0) for i, (title, column) in enumerate(columns)]
    names = [work.figure] + (["cpu"] if work.mode != "idle" and work.figure != "cpu" else [])
    compared = ["1" if peer.name == "sync" else spread(ratios(mine, runs, FIGURES[name]))
                for name in names]
    return [peer.title] + cells + compared + [note_of(work, right, wrong, runs)]


def heading(work):
    ratio = ["SYNC ÷ peer"] if work.mode == "idle" or work.figure == "cpu" else \
        ["SYNC ÷ peer", "its CPU ÷ peer's"]
    return ["peer"] + [title for title, _ in COLUMNS[work.mode]] + ratio + [""]


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
    """The bars: what was promised, and what was measured."""

    def __init__(self, results):
        self.results, self.table = results, []

    def add(self, work, bar, holds, figure, rounds):
        verdict = "not measured" if holds is None else \
            "not decided: %d of %d rounds" % (rounds, DECIDES) if rounds < DECIDES else \
            "holds" if holds else "does not hold"
        self.table.append([work, bar, verdict, figure])

    def at_least(self, title, work, peer, factor, figure=per_second, of=""):
        found = self.results.get(work, {})
        values = ratios(found.get("sync", []), found.get(peer, []), figure)
        bar = "at least %g × %s" % (factor, of)
        self.add(title, bar, median(values) >= factor if values else None,
                 spread(values) if values else self.why(found, peer), len(values))

    def at_most(self, title, work, peer, factor, figure=cpu, of=""):
        found = self.results.get(work, {})
        values = ratios(found.get("sync", []), found.get(peer, []), figure)
        bar = "at most %g × %s" % (factor, of)
        self.add(title, bar, median(values) <= factor if values else None,
                 spread(values) if values else self.why(found, peer), len(values))

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
        found = self.results.get("echo16", {})
        values = ratios(found.get("sync-off", []), found.get("sync", []), user)
        self.add("JIT on over off, user CPU per message, echo at depth 16", "at least 7 ×",
                 median(values) >= 7 if values else None, spread(values), len(values))
        on, off = found.get("sync", []), found.get("sync-off", [])
        more = [(a["server"]["rss_kib"] - b["server"]["rss_kib"]) / 1024
                for a, b in zip(on, off) if isinstance(a, dict) and isinstance(b, dict)]
        self.add("JIT's memory, echo at depth 16", "at most 2 MiB more than off",
                 median(more) <= 2 if more else None, spread(more, number) + " MiB", len(more))

    def idle(self, title, work, most):
        values = self.values(work, "sync", memory)
        wrong = failures(self.results.get(work, {}).get("sync", []))
        said = spread(values, number) + " B" if values else "failed: " + wrong[-1] if wrong else "-"
        # Memory differs little from round to round.
        self.add(title, "at most %d B" % most, median(values) <= most if values else None, said,
                 DECIDES if values else 0)

    def websocket(self):
        for size, title, least in ((20, "20 B", 1.1), (1024, "1 KiB", 1.1), (16384, "16 KiB", 1)):
            for depth in (1, 16):
                work = "ws%d-%d" % (size, depth)
                if work in self.results:
                    title_of = "WebSocket echo, 100 connections, %s, depth %d" % (title, depth)
                    self.at_least(title_of, work, "ws", 2, of="npm `ws`")
                    self.at_least(title_of, work, "uws", least, of="uWebSockets")


def bars(results):
    found = Bars(results)
    uv = "C on libuv"
    for burst in (1, 16):
        name = "broadcast to 1,000 in bursts of %d" % burst
        found.at_most(name + ", CPU a delivery", "burst%d" % burst, "uv", 0.9, of=uv)
        found.at_least(name + ", highest rate", "hold%d" % burst, "uv", 1.08, of=uv)
    found.at_least("echo, 64 connections, depth 1", "echo1", "uv", 1, of=uv)
    found.at_most("the same, CPU a message", "echo1", "uv", 1, of=uv)
    found.at_least("echo, depth 16", "echo16", "uv", 0.8, of=uv)
    bytes_runs = {**results.get("echo16", {})}
    bytes_runs["sync"] = bytes_runs.get("sync-bytes", [])
    found.results = {**results, "bytes16": bytes_runs}
    found.at_least("echo, depth 16, `onBytes`", "bytes16", "uv", 0.95, of=uv)
    found.websocket()
    found.jit()
    found.idle("idle connection, byte stream, 5,000 of them", "idle5000", 700)
    found.idle("idle connection, WebSocket, 5,000 of them", "wsidle5000", 800)
    found.at_least("connections/s accepted", "storm", "uv", 1.0, of=uv)
    found.at_most("p99 latency at the fixed rate", "rate", "uv", 1.0, figure=p99, of=uv)
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
{seconds:g} s. The load checks every byte. Tables show medians of the rounds, and where there are
parentheses the least and the greatest. Ratios are taken within each round. Of CPU time, latency and memory less is better, of
rates more. A bar is decided by five rounds.

**What decides is the server's CPU time for each message.** How many messages there are in a closed loop (echo) also hangs on the
load, which waits: *server %* and *load %* are their shares of a core, and a row whose load has no time left says so. In an open loop (broadcast, latency) all are
offered the same, in bursts, whatever they do. *The highest rate* is the one of which {hold_share:.0%} arrive and the 99th percentile is below {hold_p99:.0f} ms, found in
steps of {hold_step:.0%}.

Every server cuts messages at NUL over the bounds of reads, has TCP_NODELAY on, and writes the
answers to what one read brought at once, as its platform does that. The sources are in
`bench/peers/`. The programs of C on io_uring and on libuv are the limits: the same work, and no host
around them; unframed, C writes back what it read. Over WebSocket messages are text, the
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
    text += ["![CPU time of the server for each message](benchmarks-cost.svg)", "",
             "![Throughput by peer](benchmarks-throughput.svg)", "",
             "![Latency percentiles at a fixed rate](benchmarks-latency.svg)", "",
             "![Memory by connections](benchmarks-memory.svg)", "",
             "![WebSocket throughput by size](benchmarks-websocket.svg)", ""]
    for work in works:
        text += ["## " + work.title, ""]
        if work.mode in ("rate", "room"):
            text += ["Latency counts from when a message was due.", ""]
        text += markdown([heading(work)] + rows(work, peers, raw, results)) + [""]
    text += ["## Machine and versions", ""]
    text += ["- %s: %s" % fact for fact in facts]
    text += ["- %s: %s" % (peer.title, "missing: " + peer.missing if peer.missing
                           else peer.version) for peer in peers]
    with open(os.path.join(DOCS, "benchmarks.md"), "w", encoding="utf-8") as file:
        file.write("\n".join(text).rstrip() + "\n")


def print_all(works, peers, raw, results):
    print_tables(works, peers, raw, results)
    print("\nBars")
    for line in bars(results)[1:]:
        if line[2] != "not measured":
            print("  %-14s %s: %s; measured %s" % (line[2], line[0], line[1], line[3]))


def write(works, peers, raw, results, settings, facts):
    os.makedirs(DOCS, exist_ok=True)
    print_all(works, peers, raw, results)
    plot.write(DOCS, works, peers, raw, results)
    write_document(works, peers, raw, results, settings, facts)
    print("\nWrote docs/benchmarks.md and its plots; took %.0f s." % settings["took"])
