"""What the benchmarks share: processes that have a core each, and how figures are told."""
import json
import os
import resource
import select
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time

QUICK = os.environ.get("QUICK", "0") not in ("", "0")
PYTHON = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
READY_SECONDS, END_SECONDS = 60, 10
SERVER_CORE, LOAD_CORE = 0, 1
LOAD = "build/bench/load"
ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
TICK = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A run that gave no figure, and why."""


def count_rounds(usual, quick=1):
    """How many rounds ROUNDS= and QUICK= ask for."""
    return int(os.environ.get("ROUNDS") or (quick if QUICK else usual))


def begin():
    """Goes where all paths begin, and lets programs have as many connections as they may."""
    os.chdir(ROOT)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def npm_version(folder, package):
    """Of an npm package; None when it isn't installed."""
    try:
        with open(os.path.join(folder, package, "package.json")) as file:
            return json.load(file)["version"]
    except OSError:
        return None


def can_pin():
    return len(os.sched_getaffinity(0)) > 1 and bool(shutil.which("taskset"))


def pinned(core, command):
    """The command bound to the core of this number among those that there are, if there are
    two."""
    cores = sorted(os.sched_getaffinity(0))
    return ["taskset", "-c", str(cores[core])] + command if can_pin() else command


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def cpu_of(pid):
    """Seconds of processor time, of all threads of a process."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def last_line(text):
    lines = [line.strip() for line in text.splitlines()]
    return next((line for line in reversed(lines) if line), "it said nothing")


class Process:
    """A program that says a word, so many times, when it is ready. As a context manager it is
    waited for, and ended. `options` are those of subprocess.Popen."""

    def __init__(self, command, word=b"ready", times=1, **options):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors,
                                        **options)
        self.pid, self.word, self.times = self.process.pid, word, times
        self.greeting = ""  # what it wrote until it was ready
        self.said = ""  # and from then to its end

    def trouble(self):
        """All of its standard error."""
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def wait(self):
        said, end = b"", time.monotonic() + READY_SECONDS
        while said.count(self.word) < self.times:
            left = max(0, end - time.monotonic())
            if not select.select([self.process.stdout], [], [], left)[0]:
                raise Failed(f"the server wasn't ready after {READY_SECONDS} s")
            piece = os.read(self.process.stdout.fileno(), 65536)
            if not piece:
                raise Failed("the server did not start: " + last_line(self.trouble()))
            said += piece
        self.greeting = said.decode(errors="replace")

    def end(self):
        """Ends the process that was started, which ends its own, and no other."""
        self.process.terminate()
        try:
            said, _ = self.process.communicate(timeout=END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            said, _ = self.process.communicate()
        self.said = said.decode(errors="replace")

    def __enter__(self):
        try:
            self.wait()
        except Failed:
            self.end()
            raise
        return self

    def __exit__(self, *_):
        self.end()


class Server(Process):
    """A program on the servers' core, which gets a free port as its last word."""

    def __init__(self, command, **options):
        self.port = free_port()
        super().__init__(pinned(SERVER_CORE, command + [str(self.port)]), **options)


def run_load(server, mode, options, warm_up, seconds, port=None, connecting=30, pin=True):
    """Runs a mode of the load client; returns what it reports, as JSON. `connecting` is how many
    seconds it may take besides."""
    words = [LOAD, mode, f"127.0.0.1:{port or server.port}", "-p", server.pid, "-w", warm_up,
             "-t", seconds, "--json"] + list(options)
    command = [str(word) for word in words]
    if pin:
        command = pinned(LOAD_CORE, command)
    try:
        done = subprocess.run(command, capture_output=True, text=True,
                              timeout=warm_up + seconds + connecting)
    except subprocess.TimeoutExpired:
        raise Failed("the load did not end") from None
    if done.returncode != 0:
        why = last_line(done.stderr) if done.stderr.strip() else f"exit code {done.returncode}"
        if server.process.poll() is not None:
            why += f" (the server ended: {last_line(server.trouble())})"
        raise Failed(why)
    try:
        return json.loads(done.stdout)
    except ValueError:
        raise Failed("the load printed no JSON: " + done.stdout[:80]) from None


def spread(values, form="{:.2f}".format):
    """The median and, in parentheses, the least and the greatest."""
    if not values:
        return "-"
    return f"{form(statistics.median(values))} ({form(min(values))}–{form(max(values))})"


def table(head, rows, texts=1):
    """Lines of Markdown; after the first columns, which are texts, come numbers."""
    return ["| " + " | ".join(head) + " |",
            "|" + " --- |" * texts + " ---: |" * (len(head) - texts)] + \
        ["| " + " | ".join(row) + " |" for row in rows]
