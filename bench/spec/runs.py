"""Tests of what runs/ does with figures, and of the peers that are written in C."""
import os
import subprocess
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, "runs"))
import peers  # noqa: E402
import report  # noqa: E402
from shared import Failed, free_port  # noqa: E402

LOAD = os.environ.get("LOAD", "build/bench/load")
C_PEERS = ["build/bench/uv", "build/bench/uring"]


class Wrong(Exception):
    """What a test saw, and should not have."""


def same(wanted, seen):
    if wanted != seen:
        raise Wrong("%r instead of %r" % (seen, wanted))


def run_of(rate=1.0, user=100, system=300, load=0.5):
    return {"per_second": rate, "server": {"user_ns": user, "system_ns": system, "busy": 0.9},
            "load": {"busy": load}, "latency_us": {"p50": 1, "p99": 2, "p999": 3}}


def verdicts():
    """A bar is decided by five rounds, whatever fewer say."""
    for rounds, at_least, at_most in ((4, "not decided: 4 of 5 rounds", "not decided: 4 of 5 rounds"),
                                      (5, "holds", "does not hold")):
        results = {"w": {"sync": [run_of(rate=2.0)] * rounds, "uv": [run_of()] * rounds}}
        bars = report.Bars(results)
        bars.at_least("rate", "w", "uv", 1.5)
        bars.at_most("cpu", "w", "uv", 0.9)
        same([at_least, at_most], [line[2] for line in bars.table])
    bars = report.Bars({})
    bars.at_most("cpu", "w", "uv", 0.9)
    same("not measured", bars.table[0][2])


def cost():
    """The server's time for each message has its ratio, and a load without time left a note."""
    work = peers.Work("w", "W", "echo", [])
    found = {"sync": [run_of()] * 2, "uv": [run_of(user=50, system=150, load=0.99)] * 2}
    row = report.row(peers.Peer("uv", "C", ["x"], ["x"]), work, found, found["sync"])
    same(["1.00 (1.00–1.00)", "2.00 (2.00–2.00)", "the load is the limit"], row[-3:])
    same(len(report.heading(work)), len(row))


def search():
    """The highest rate is found from above and from below, and where a run ended before."""
    work = peers.Work("w", "W", "hold", [])
    honest = peers.try_rate
    try:
        for before in (None, 5000.0, 90.0):
            peers.try_rate = lambda peer, work, rate: run_of(rate) if rate <= 1000 else None
            found = peers.hold(None, work, before)["wanted"]
            if not 1000 / peers.HOLD_STEP < found <= 1000:
                raise Wrong("found %g from %r" % (found, before))
        peers.try_rate = lambda peer, work, rate: None
        try:
            peers.hold(None, work, None)
        except Failed:
            return
        raise Wrong("a rate was held that wasn't")
    finally:
        peers.try_rate = honest


def c_peer(path, mode, *options):
    """A peer in C does what it is measured by: the load checks each byte."""
    def test():
        port = free_port()
        server = subprocess.Popen([path, mode, str(port)], stdout=subprocess.PIPE)
        try:
            server.stdout.readline()
            for times in range(2):  # the second finds a server that clients have left
                done = subprocess.run([LOAD, *options, "127.0.0.1:%d" % port, "-w", "0.1", "-t",
                                       "0.5", "-T", "10"], capture_output=True, text=True,
                                      timeout=60)
                if done.returncode != 0:
                    raise Wrong("run %d: %s" % (times + 1, done.stderr.strip()))
            if server.poll() is not None:
                raise Wrong("it ended with %d" % server.returncode)
        finally:
            server.kill()
            server.communicate()
    return "%s does %s, %s" % (path, mode, " ".join(options)), test


def tests():
    found = [("a verdict needs five rounds", verdicts), ("the cost has its ratio", cost),
             ("the highest rate is found", search)]
    for path in filter(os.path.exists, C_PEERS):
        found += [
            c_peer(path, "raw", "echo", "-f", "raw", "-c", "20", "-d", "4"),
            c_peer(path, "echo", "echo", "-c", "64", "-d", "16"),
            c_peer(path, "echo", "echo", "-c", "4", "-d", "2", "-s", "200000"),
            c_peer(path, "echo", "storm", "-c", "16"),
            c_peer(path, "broadcast", "broadcast", "-c", "100", "-d", "16"),
            c_peer(path, "broadcast", "room", "-c", "50", "-r", "100", "-b", "4", "-s", "20000"),
        ]
    return found
