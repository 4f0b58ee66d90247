#!/usr/bin/env python3
"""Measures what the JIT gives to four handlers: `make bench-jit` (QUICK=1: one short round).

SYNC with the JIT on and off, CPython and PyPy take turns, round by round, so that what slows
the machine for a while slows all alike. A server runs alone on core 0, the load on core 1.
Ratios are taken within a round, and their medians are told. ROUNDS=N sets the rounds (5),
ONLY=echo,game the handlers. Writes docs/jit.md.
"""
import os
import platform
import re
import statistics
import subprocess
import sys
import time

from shared import PYTHON, QUICK, Failed, Server, begin, count_rounds, run_load, spread, table

ROUNDS = count_rounds(5)
DECIDES = 5  # rounds that a verdict needs
WARM_UP, SECONDS = (0.7, 0.7) if QUICK else (1.5, 2.0)
SERVE_LUA, SERVE_PY = "bench/peers/jit/serve.lua", "bench/peers/jit/serve.py"
PAGE = "docs/jit.md"
BAR_RATIO, BAR_MEMORY = 7.0, 2.0  # times, MiB

VERSION = ("import platform as p, sys; print(p.python_implementation(), "
           "'%d.%d.%d' % getattr(sys, 'pypy_version_info', sys.version_info)[:3])")
RUNTIMES = {
    "on": ("SYNC", ["./sync-lua", SERVE_LUA], ["./sync-lua", "--version"]),
    "off": ("SYNC, JIT off", ["./sync-lua", "--jit=off", SERVE_LUA], ["./sync-lua", "--version"]),
    "cpython": ("CPython", [PYTHON, SERVE_PY], [PYTHON, "-c", VERSION]),
    "pypy": ("PyPy", ["pypy3", SERVE_PY], ["pypy3", "-c", VERSION]),
}
# What of an echo is left without any Lua: the peer of `make bench`, in C.
FLOOR = "uv"
RUNTIMES[FLOOR] = ("C on libuv", ["build/bench/uv"], ["pkg-config", "--modversion", "libuv"])
WORKS = {
    "echo": "echo, 64 connections at depth 16, 64 B",
    "chat": "chat, 200 members, {hearers} of them hear a message",
    "game": "game step, 64 bodies",
    "rpc": "JSON-RPC call, 64 connections at depth 16",
}
# The load's mode, and its connections and depth.
LOADS = {"echo": ("walk", 64, 16), "chat": ("chat", 200, 16), "game": ("game", 8, 4),
         "rpc": ("rpc", 64, 16)}
SILENCE = 10  # seconds without an answer, until that is a failure
HEARERS = 20  # as the load makes the members
ONLY = [name for name in os.environ.get("ONLY", "").split(",") if name] or list(WORKS)

REASONS = {
    "echo": """The handler is one call, so there is little to compile. What is left with the JIT
on is what both do: libuv and the framing in `sync_poll`, making a Lua string of each message,
collecting it, queueing it, `sync_flush`. About a third of the user CPU is LuaJIT's
string table and garbage collector (`lj_str_new`, `lj_str_resize`, `gc_sweepstr`), and
little is compiled code; [`onBytes`](bytes.md) has none of it. C on libuv, which makes no string, shows how much that is. With the
JIT off the FFI's calls and fields are added (`lj_ccall_func`, `lj_cconv_ct_ct`,
`lj_cf_ffi_meta___index`), and that is all the ratio can show. A garbage collector that pauses
longer (`setpause` 400) made it slower, presumably by more cache misses. CPython's echo is near
because `split` and `join` cut and answer all that a read brought by one call of C each.""",
    "chat": """The filter calls a Lua function for each of 200 members; queueing for those 20
who hear, and the writes, are C in both. The ratio is limited by that.""",
    "game": """Arithmetic on tables: what a tracing compiler is for; all of it is native code.
The same step without a server (12 µs on, 80 to 85 off) has nearly the same ratio,
so the rest of SYNC hardly counts. What most likely limits it: which pairs are near is unpredictable, and each such
branch is a side trace that joins the loop again at its head (not proven: the machine counts no
mispredicted branches). Other ways to write the
loop (positions held in locals, lists of numbers, not of bodies), and other values of LuaJIT's
`hotexit` and `hotloop`, changed it by less than the noise.""",
    "rpc": """`cjson.decode` and `cjson.encode` are C functions of Lua's own API. LuaJIT doesn't
compile such calls, and nothing is stitched around them (below): the handler is interpreted from there on. The C
functions, and the garbage they make, take as long as with the JIT off. A `sync.Remote` has a reader and a
writer of its own, which are compiled. PyPy's own decoder is
part of its runtime.""",
}


STITCHING = """## What calls C is interpreted

LuaJIT compiles no call of a function of Lua's C API, such as `string.find` with a pattern. It can end one trace before the
call and begin another behind it: stitching. The LuaJIT of March 2022, which Debian 12 has, may crash in a trace that was stitched
within a loop over pairs, so nothing is stitched, and a handler that makes such a call is interpreted from there to its end, its
`send` too. Instructions for each message of an echo (callgrind, 64 bytes) whose handler also makes this call:

| the handler calls | as it is | stitched | as it is ÷ stitched |
| --- | ---: | ---: | ---: |
| nothing | 1,163 | 1,121 | 1.04 |
| `data:find("7", 1, true)` | 1,435 | 1,402 | 1.02 |
| `("%s %d"):format(data, #data)` | 2,116 | 2,103 | 1.01 |
| `data:match("^(%d%d)(%d%d)")` | 7,916 | 2,871 | 2.76 |
| `data:find("^(%d+)")` | 9,199 | 4,235 | 2.17 |
| `data:gsub("0", "1")` | 19,350 | 14,184 | 1.36 |
| `cjson.encode(cjson.decode(text))` | 24,243 | 19,506 | 1.24 |

So a pattern costs a handler about 5,000 instructions, 1 to 2 µs, more than with stitching. What is compiled: `find` with a plain text, `sub`, `byte`, `format` of
strings and numbers, `sync.Remote`'s JSON. For another LuaJIT `sync.jit.stitch()` turns stitching on."""

REPORT = """## What `--jit-report` says of a handler

| | |
| --- | --- |
| native code | all of it that has run often |
| native code in part | compiling ended somewhere, or it calls what is not compiled, such as `string.gmatch`; the lines below say where and why |
| native code in a loop alone | a loop in it; what stands around that is interpreted |
| interpreted | none of it, or it was not called often enough |"""


def does(name, work):
    return name != FLOOR or work == "echo"


def drive(server, work):
    mode, connections, depth = LOADS[work]
    run = run_load(server, mode, ["-c", connections, "-d", depth, "-T", SILENCE], WARM_UP, SECONDS)
    return {"rate": run["per_second"], **run["server"]}


def measure(runtime, work):
    with Server(RUNTIMES[runtime][1] + [work]) as server:
        return drive(server, work)


def profile(work):
    """Shares of time by -jp: {"Compiled": 89, ..., "loop": the part of it in loop.lua}."""
    with Server(["./sync-lua", "-jp=vl", SERVE_LUA, work]) as server:
        drive(server, work)
    shares, part = {}, None
    for line in server.said.splitlines():
        top = re.match(r"^ *(\d+)%  (\w.*)$", line)
        below = re.match(r"^  -- +(\d+)%  (\S+):\d+$", line)
        if top:
            part = top.group(2)
            shares[part] = int(top.group(1))
        elif below and part == "Compiled" and below.group(2) == "loop.lua":
            shares["loop"] = shares.get("loop", 0) + int(below.group(1)) * shares[part] / 100
    return shares


def traces(work):
    """By -jv: how many traces, how many attempts that were given up, and where for good."""
    with Server(["./sync-lua", "-jv", SERVE_LUA, work]) as server:
        drive(server, work)
    lines = server.trouble().splitlines() + server.said.splitlines()
    stitched = [line for line in lines if re.search(r"\bstitch\b", line)]
    given_up = [line for line in lines if line.startswith("[TRACE ---")]
    lost = {where for line in lines
            for where in re.findall(r"(\S+) -- fallback to interpreter", line) +
            re.findall(r"blacklisted at ([^\]\s]+)", line)}
    made = [line for line in lines if re.match(r"\[TRACE +\d", line)]
    return len(made), len(stitched), len(given_up), ", ".join(sorted(lost)) or "nowhere"


def versions():
    """What each runtime is, by name; None for one that is missing."""
    found = {}
    for name, (_, _, command) in RUNTIMES.items():
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20)
            said = " ".join((done.stdout + done.stderr).split())
            found[name] = said if done.returncode == 0 else None
        except OSError:
            found[name] = None
    return found


def median(rounds, work, of):
    values = [of(results[work]) for results in rounds]
    return statistics.median(values)


def ratio(rounds, work, runtime):
    """User CPU of another runtime ÷ that of SYNC with the JIT on, round by round."""
    return [results[work][runtime]["user_ns"] / max(results[work]["on"]["user_ns"], 1)
            for results in rounds]


def title(work):
    return WORKS[work].format(hearers=HEARERS)


def measured_table(rounds, names):
    rows = []
    for work in ONLY:
        for name in [name for name in names if does(name, work)]:
            def figure(key, name=name, work=work):
                return median(rounds, work, lambda result: result[name][key])
            rows.append([
                title(work) if name == "on" else "", RUNTIMES[name][0],
                format(figure("rate"), ",.0f"), format(figure("user_ns") / 1000, ",.2f"),
                format(figure("system_ns") / 1000, ",.2f"),
                format(figure("rss_kib") / 1024, ".1f"),
                "1" if name == "on" else spread(ratio(rounds, work, name)),
            ])
    head = ["handler", "runtime", "messages/s", "user CPU, µs a message", "system CPU, µs",
            "resident, MiB", "its user CPU ÷ SYNC's"]
    return table(head, rows)


def memory_difference(rounds, work):
    return [(results[work]["on"]["rss_kib"] - results[work]["off"]["rss_kib"]) / 1024
            for results in rounds]


def verdict(holds):
    if ROUNDS < DECIDES:
        return "not decided: %d of %d rounds" % (ROUNDS, DECIDES)
    return "holds" if holds else "does not hold"


def bars(rounds):
    rows = []
    for work in ("echo", "game"):
        if work in ONLY:
            times = ratio(rounds, work, "off")
            rows.append(["JIT on over off, " + title(work), "at least 7 × in user CPU",
                         verdict(statistics.median(times) >= BAR_RATIO),
                         spread(times) + " ×"])
    more = max((memory_difference(rounds, work) for work in ONLY), key=statistics.median)
    rows.append(["JIT's memory, the handler with most", "at most 2 MiB more than off",
                 verdict(statistics.median(more) <= BAR_MEMORY),
                 spread(more) + " MiB"])
    return table(["what", "bar", "verdict", "measured"], rows)


def profile_table(profiles):
    rows = []
    for work in ONLY:
        shares = profiles[work]
        rows.append([title(work)] + ["%.0f %%" % shares.get(key, 0) for key in (
            "Compiled", "loop", "Interpreted", "C code", "Garbage Collector", "JIT Compiler")])
    return table(["handler", "native code", "of it in `loop.lua`", "interpreted", "C functions",
                  "garbage", "compiling"], rows)


def trace_table(seen):
    head = ["handler", "traces", "stitched to C", "attempts that failed", "given up for good"]
    return table(head, [[title(work)] + [str(part) for part in seen[work]]
                        for work in ONLY])


def page(rounds, names, found, profiles, seen, took):
    missing = [RUNTIMES[name][0] for name in RUNTIMES if name not in names]
    lines = ["# What the JIT gives", "",
             "Written by `make bench-jit%s`, which took %d s." % (" QUICK=1" if QUICK else "", took)]
    if QUICK:
        lines += ["", "**This was a quick run, to see that all works. Its figures are rough.**"]
    lines += ["", """Four handlers that a real server has, each in Lua (`bench/peers/jit/*.lua`) and the same in Python on
asyncio (`bench/peers/jit/serve.py`). Server and load run on one machine over loopback, the server on
one core and the load on another. A closed loop (`bench/load/modes/`) checks every answer; it
computes the game itself, so all runtimes are shown to compute the same, to nine digits behind
the point. Medians of %d round%s, in which the runtimes take turns; a run warms up for %.1f s,
then counts for %.1f s. The ratio is taken within each round; in parentheses stand the least and
the greatest.""" % (ROUNDS, "" if ROUNDS == 1 else "s", WARM_UP, SECONDS), "", "## Bars", ""]
    lines += bars(rounds) + ["", "## Figures", ""] + measured_table(rounds, names)
    if missing:
        lines += ["", "Missing, since not installed: " + ", ".join(missing) + "."]
    lines += ["", "Memory the JIT takes (on less off, resident, MiB): " + "; ".join(
        "%s %s" % (work, spread(memory_difference(rounds, work))) for work in ONLY) + "."]
    lines += ["", "## Where the time goes, JIT on", "",
              "By `sync-lua -jp=vl bench/peers/jit/serve.lua HANDLER PORT`, by wall clock. Time in native code",
              "that stands in `loop.lua` is mostly the C core, called from there: reading, making the",
              "message's string, writing.", ""] + profile_table(profiles)
    lines += ["", "By `-jv`, connecting and leaving included:", ""] + trace_table(seen)
    lines += ["", "## Why"]
    for work in ONLY:
        times = "**%s: %.1f ×.** " % (work, statistics.median(ratio(rounds, work, "off")))
        lines += ["", times + REASONS[work]]
    lines += ["", STITCHING]
    lines += ["", "`sync-lua --jit-report bench/peers/jit/serve.lua HANDLER PORT` says the same by handler,",
              "and `-jv` shows each trace.", "", REPORT, "", "## Machine and versions", "",
              "%s, Linux %s, %d cores" % (
                  processor(), ".".join(platform.release().split(".")[:2]), os.cpu_count()), ""]
    lines += ["- %s: %s" % (RUNTIMES[name][0], found[name]) for name in names if name != "off"]
    return "\n".join(lines) + "\n"


def processor():
    with open("/proc/cpuinfo") as info:
        found = re.search(r"model name\s*: (.*)", info.read())
    return found.group(1) if found else platform.machine()


def main():
    begin()
    began = time.monotonic()
    found = versions()
    names = [name for name in RUNTIMES if found[name]]
    for name in RUNTIMES:
        if name not in names:
            print("%s is missing" % RUNTIMES[name][0])
    rounds = []
    for number in range(ROUNDS):
        results = {work: {} for work in ONLY}
        for work in ONLY:
            for name in [name for name in names if does(name, work)]:
                results[work][name] = measure(name, work)
                print("round %d: %-5s %-14s %s" % (
                    number + 1, work, RUNTIMES[name][0], results[work][name]), flush=True)
        rounds.append(results)
    profiles = {work: profile(work) for work in ONLY}
    seen = {work: traces(work) for work in ONLY}
    text = page(rounds, names, found, profiles, seen, time.monotonic() - began)
    print("\n" + "\n".join(bars(rounds) + [""] + measured_table(rounds, names)))
    if ONLY == list(WORKS):
        with open(PAGE, "w") as file:
            file.write(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as problem:
        sys.exit("bench-jit: %s" % problem)
