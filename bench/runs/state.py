#!/usr/bin/env python3
"""Measures state that clients see beside Colyseus: `make bench-state` (QUICK=1: one short round).

100, 300 and 1,000 entities that all move, each owned by a member that sees those near it: the
same fields, the same movements, and for Colyseus' views the sets of whom a member sees that SYNC
has worked out. Both are measured in process, without sockets: CPU a tick in comparing and
encoding for all members (SYNC's with working out who is near), bytes a member and tick, and what
clients take to decode in Node.js. What both clients have decoded is compared, entity by entity.
Then without views (each sees all), and end to end, 200 clients over WebSocket: CPU of the server.
Last, a room's ticks in Lua: native code, fields beside those of tables, and garbage (ticks.lua).

Programs take turns on core 0, round by round, and ratios are taken within a round. ROUNDS=N sets
the rounds (3). Prints tables, and draws docs/state-cpu.svg and docs/state-bytes.svg (not if QUICK
or where Colyseus is missing).
"""
import collections
import json
import os
import statistics
import subprocess

import plot
from shared import (LOAD_CORE, QUICK, SERVER_CORE, Failed, Server, begin, count_rounds, last_line,
                    npm_version, pinned, spread, table)

ROUNDS = count_rounds(3)
PEERS = "bench/peers/state/"
PACKAGES = "build/bench/state-npm/node_modules"
ENVIRONMENT = dict(os.environ, NODE_PATH=os.path.abspath(PACKAGES), NODE_ENV="production")
DUMP = "build/bench/state.dump"
STEP = 0.05     # of sync.fixed in core.lua
Size = collections.namedtuple("Size", "count radius near ticks")
SIZES = [Size(100, 540, 50, 10 if QUICK else 100), Size(300, 250, 50, 10 if QUICK else 60),
         Size(1000, 243, 155, 5 if QUICK else 30)]
ALL = [100, 300]  # who see all: at 1,000 there would be 10 MB a tick
WARM_UP = 5 if QUICK else 20
CLIENTS, END_WARM_UP, END_SECONDS = 200, 1, 2 if QUICK else 5
BAR_CPU, BAR_FLOAT, BAR_FIXED = 15, 0.9, 0.5
TICK_SECONDS = 2 if QUICK else 10
BARS_OF_TICKS = [  # what, figure, form, least or most
    ("onTick's time in native code, at least 90 %", "native", lambda one: "%.1f %%" % (100 * one),
     lambda one: one >= 0.9),
    ("two fields of an entity ÷ those of a table, at most 2", "fields", "{:.2f}".format,
     lambda one: one <= 2),
    ("bytes of garbage a tick, below 1,024", "garbage", "{:.0f}".format,
     lambda one: one < 1024)]
JUDGED = [300, 1000]
LONGEST = 600  # seconds of one program


def run(command):
    """Runs a program on the servers' core; returns what it reports, as JSON."""
    words = pinned(SERVER_CORE, [str(word) for word in command])
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=LONGEST,
                              env=ENVIRONMENT)
    except subprocess.TimeoutExpired:
        raise Failed("it did not end") from None
    if done.returncode != 0:
        raise Failed(last_line(done.stderr))
    return json.loads(done.stdout) if done.stdout.strip() else {}


def sync(mode, size, radius, kind):
    return run(["./sync-lua", PEERS + "core.lua", mode, size.count, radius, size.ticks, WARM_UP,
                kind] + ([DUMP] if mode == "dump" else []))


def colyseus(size, sees, step=0):
    return run(["node", PEERS + "colyseus-schema.mjs", size.count, sees, size.ticks, WARM_UP,
                DUMP, step])


def measure(size, radius, kinds, has_colyseus):
    """One size in one round: SYNC by kind of field, and Colyseus, on the same."""
    found = {kind: sync("time", size, radius, kind) for kind in kinds}
    found["elsewhere"] = sync("elsewhere", size, radius, "float32")
    if has_colyseus:
        sees = "near" if radius else "all"
        for kind in reversed(kinds):
            sync("dump", size, radius, kind)
            found["colyseus"] = colyseus(size, sees, STEP if kind == "fixed" else 0)
            found["decode " + kind] = found["colyseus"]["syncDecode"]
    return found


def end_to_end(name, command):
    with Server(command, env=ENVIRONMENT) as server:
        words = ["node", PEERS + "clients.mjs", name, CLIENTS, END_WARM_UP, END_SECONDS,
                 server.pid, server.port]
        try:
            done = subprocess.run(pinned(LOAD_CORE, [str(word) for word in words]), text=True,
                                  capture_output=True, timeout=LONGEST, env=ENVIRONMENT)
        except subprocess.TimeoutExpired:
            raise Failed("the clients did not end") from None
        if done.returncode != 0:
            raise Failed(last_line(done.stderr))
        return json.loads(done.stdout)


ENDS = {"sync": ["./sync-lua", PEERS + "room.lua"], "colyseus": ["node",
                                                                PEERS + "colyseus-room.mjs"]}
NAMES = {"sync": "SYNC", "colyseus": "Colyseus"}


def one_round(has):
    results = {}
    for size in SIZES:
        results[size.count] = measure(size, size.radius, ["float32", "fixed"], has["schema"])
        if size.count in ALL:
            results["all", size.count] = measure(size, 0, ["float32"], has["schema"])
    for name, command in ENDS.items():
        if has["clients"] and (name == "sync" or has["rooms"]):
            results[name] = end_to_end(name, command)
    results["ticks"] = run(["./sync-lua", PEERS + "ticks.lua", TICK_SECONDS])
    return results


# What came out

def values(rounds, key, figure):
    return [figure(results[key]) for results in rounds if key in results]


def ms(seconds):
    return spread([1000 * value for value in seconds], "{:.3g}".format)


def core_row(rounds, key, count):
    def of(kind, figure):
        return [figure(found[kind]) for found in values(rounds, key, dict) if kind in found]

    def size_of(kind):
        return "%.0f" % statistics.median(of(kind, lambda one: one["bytes"] / count)) \
            if of(kind, lambda one: 1) else "-"
    views = of("colyseus", lambda one: one["views"])
    return [ms(of("float32", lambda one: one["cpu"])) if of("float32", dict) else "-",
            ms(of("fixed", lambda one: one["cpu"])) if of("fixed", dict) else "-",
            ms(of("colyseus", lambda one: one["encode"])) if views else "-",
            ms(views) if views and any(views) else "-",
            size_of("float32"), size_of("fixed"), size_of("colyseus")]


HEAD = ["members", "each sees", "SYNC, float32: ms a tick", "SYNC, fixed: ms", "Colyseus: ms",
        "and its views: ms", "SYNC, float32: bytes a member", "SYNC, fixed", "Colyseus"]


def seen(rounds, key, otherwise):
    found = [one["colyseus"]["seen"] for one in values(rounds, key, dict) if "colyseus" in one]
    return "%.0f" % statistics.median(found) if found else otherwise


def print_core(rounds):
    rows = [[str(size.count), seen(rounds, size.count, "about %d" % size.near)] +
            core_row(rounds, size.count, size.count) for size in SIZES]
    rows += [[str(count), "all"] + core_row(rounds, ("all", count), count) for count in ALL]
    print("\nIn process, a tick for all members:\n\n" + "\n".join(table(HEAD, rows)))


def print_elsewhere(rounds):
    rows = []
    for size in SIZES:
        found = [one["elsewhere"] for one in values(rounds, size.count, dict)]
        rows.append([str(size.count), ms([one["home"] for one in found]),
                     ms([one["replica"] for one in found]),
                     "{:,.0f}".format(statistics.median(one["bytes"] for one in found))])
    print("\nAll members on another node, float32:\n\n" + "\n".join(table(
        ["members", "the home: ms a tick", "the other node: ms", "bytes a tick between them"],
        rows)))


def print_decoding(rounds):
    rows = []
    for size in SIZES:
        found = [one for one in values(rounds, size.count, dict) if "colyseus" in one]
        if found:
            def micros(figure):
                return spread([1e6 * figure(one) / size.count for one in found], "{:.1f}".format)
            rows.append([str(size.count), micros(lambda one: one["decode float32"]),
                         micros(lambda one: one["decode fixed"]),
                         micros(lambda one: one["colyseus"]["decode"]),
                         "{:,}".format(sum(one["colyseus"]["compared"] for one in found))])
    if rows:
        print("\nDecoding in Node.js, µs a patch:\n\n" + "\n".join(table(
            ["members", "SYNC, float32", "SYNC, fixed", "Colyseus",
             "entities that were the same at both"], rows)))


def print_ends(rounds):
    rows = []
    for name in ENDS:
        found = values(rounds, name, dict)
        if found:
            rows.append([NAMES[name],
                         spread([one["cpu"] * 1000 for one in found], "{:.0f}".format),
                         spread([one["patches"] for one in found], "{:,.0f}".format),
                         spread([1e6 * one["cpu"] / one["patches"] for one in found],
                                "{:.1f}".format),
                         "%.0f" % statistics.median(one["bytes"] / one["patches"]
                                                    for one in found),
                         "%.0f" % statistics.median(one["seen"] for one in found)])
    if rows:
        print("\nEnd to end, %d clients over WebSocket, %d patches a second wanted:\n\n"
              % (CLIENTS, 20 * CLIENTS) + "\n".join(table(
                  ["server", "CPU a second, ms", "patches/s", "µs a patch", "bytes a patch",
                   "each sees"], rows)))


def print_bars(rounds):
    print()
    for count in JUDGED:
        found = [one for one in values(rounds, count, dict) if "colyseus" in one]
        if not found:
            print("Bars at %d: not judged, Colyseus is missing" % count)
            continue
        cpu = [one["colyseus"]["encode"] / one["float32"]["cpu"] for one in found]
        sizes = {kind: [one[kind]["bytes"] / one["colyseus"]["bytes"] for one in found]
                 for kind in ("float32", "fixed")}
        for what, ratios, holds in (
                ("Colyseus' CPU ÷ SYNC's, at least %d" % BAR_CPU, cpu,
                 statistics.median(cpu) >= BAR_CPU),
                ("SYNC's bytes ÷ Colyseus', float32, at most %.1f" % BAR_FLOAT, sizes["float32"],
                 statistics.median(sizes["float32"]) <= BAR_FLOAT),
                ("SYNC's bytes ÷ Colyseus', fixed, at most %.1f" % BAR_FIXED, sizes["fixed"],
                 statistics.median(sizes["fixed"]) <= BAR_FIXED)):
            print("- Bar at %d: %s: %s, %s" % (count, what, spread(ratios),
                                             "holds" if holds else "does not hold"))


def print_ticks(rounds):
    found = values(rounds, "ticks", dict)
    print("\nA room of 1,000 entities, its ticks in Lua; two fields of one take %s ns:\n"
          % spread([1e9 * one["each"] for one in found], "{:.1f}".format))
    for what, figure, form, holds in BARS_OF_TICKS:
        all_of = [one[figure] for one in found]
        print("- Bar: %s: %s, %s" % (what, spread(all_of, form),
                                     "holds" if holds(statistics.median(all_of))
                                     else "does not hold"))


# Plots

Peer = collections.namedtuple("Peer", "name title missing")
SHOWN = [("float32", Peer("sync", "SYNC, float32", False)),
         ("fixed", Peer("sync-off", "SYNC, fixed", False)),
         ("colyseus", Peer("node", "Colyseus, views", False))]


def draw(rounds):
    def groups(title, figure):
        return [(title % (size.count, float(seen(rounds, size.count, size.near))),
                 [(peer, [figure(one[kind], size) for one in values(rounds, size.count, dict)])
                  for kind, peer in SHOWN]) for size in SIZES]

    def cpu(one, _):
        return 1000 * one.get("cpu", one.get("encode"))
    note = "Median of the rounds; the line spans the least and the greatest. Shorter is better."
    plot.panels("docs/state-cpu.svg", "A tick for all members", note, groups(
        "%d members, each sees %.0f: CPU a tick, ms", cpu))
    plot.panels("docs/state-bytes.svg", "A patch", note, groups(
        "%d members, each sees %.0f: bytes a member and tick",
        lambda one, size: one["bytes"] / size.count))


def present():
    """What of Colyseus and its clients there is."""
    found = {}
    for package in ("@colyseus/schema", "@colyseus/core", "@colyseus/ws-transport",
                    "@colyseus/sdk", "express", "ws"):
        found[package] = npm_version(PACKAGES, package)
        print("%s %s" % (package, found[package] or "is missing"))
    try:
        print("Node.js " + subprocess.run(["node", "--version"], capture_output=True,
                                          text=True).stdout.strip())
    except OSError:
        print("Node.js is missing")
        found = {}
    has = {"schema": bool(found.get("@colyseus/schema")), "clients": bool(found.get("ws")),
           "rooms": bool(found) and all(found.values())}
    for what, why in (("schema", "Colyseus' encoder, and decoding, are not measured"),
                      ("rooms", "Colyseus end to end is not measured"),
                      ("clients", "nothing is measured end to end")):
        if not has[what]:
            print(why)
    return has


def main():
    begin()
    has, rounds = present(), []
    for number in range(ROUNDS):
        try:
            rounds.append(one_round(has))
        except Failed as problem:
            raise SystemExit("bench-state: failed: %s" % problem)
        print("round %d of %d" % (number + 1, ROUNDS), flush=True)
    if os.path.exists(DUMP):
        os.remove(DUMP)
    print("\nMedians of %d round%s (least–greatest)" % (ROUNDS, "" if ROUNDS == 1 else "s"))
    print_core(rounds)
    print_elsewhere(rounds)
    print_decoding(rounds)
    print_ends(rounds)
    print_bars(rounds)
    print_ticks(rounds)
    if has["schema"] and not QUICK:
        draw(rounds)


if __name__ == "__main__":
    main()
