#!/usr/bin/env python3
"""Tests of the load generator and of sync-bench: `make bench-test`.

Each fault a server can have must end the load with an exit code that isn't 0 and with a
message that names it; a right server must pass. Ends with `N passed, N failed`.
"""
import concurrent.futures
import json
import os
import re
import ssl
import subprocess
import sys
import tempfile

import runs
import servers
from servers import Server, accept

LOAD = os.environ.get("LOAD", "build/bench/load")
RAMP = os.environ.get("SYNC_BENCH", "build/sync-bench")
PARTS = os.environ.get("LOAD_PARTS", "build/bench/parts_test")
STREAMS = ["raw", "null", "line", *servers.PREFIXES]
ALL = STREAMS + ["ws-text", "ws-binary"]
SOCKETS = ["ws-text", "ws-binary"]
AT_ONCE = 12


class Wrong(Exception):
    """What a test saw, and should not have."""


def load(mode, framing, answer, *options, handshake=accept, path="/path?a=b", tls=None):
    """Runs the load against a server. Returns its exit code and what it said."""
    with Server(framing, answer, handshake, tls=tls) as server:
        target = "127.0.0.1:%d" % server.port
        target += path if framing in SOCKETS else ""
        command = [LOAD, mode, target, "--framing", framing, "-s", str(servers.SIZE),
                   "-w", "0", "-t", "0.2", "-T", "0.5", "-c", "2"] + list(options)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20,
                                  errors="replace")
        except subprocess.TimeoutExpired:
            raise Wrong("the load did not end") from None
        if server.wrong:
            raise Wrong("the server saw: " + server.wrong[0])
    return done.returncode, done.stdout, done.stderr.strip()


def passes(mode, framing, answer, *options, **more):
    def test():
        code, out, err = load(mode, framing, answer, "--json", "-t", "0.5", "-T", "3", *options,
                              **more)
        if code != 0:
            raise Wrong("exit code %d: %s" % (code, err))
        if mode != "idle" and not json.loads(out)["messages"] > 0:
            raise Wrong("no message was counted")
    named(test, "a right server passes", mode, framing, answer, options)


def fails(mode, framing, answer, says, *options, **more):
    """A fault ends the run at once, however long it would be."""
    def test():
        code, _, err = load(mode, framing, answer, "-t", "3", *options, **more)
        if code != 1:
            raise Wrong("exit code %d, said: %s" % (code, err or "nothing"))
        if not re.search(says, err):
            raise Wrong("it says `%s`, not `%s`" % (err, says))
    named(test, "names the fault `%s`" % says, mode, framing, answer, options)


TESTS = []


def named(test, what, mode, framing, answer, options):
    TESTS.append(("%s: %s, %s, %s %s" % (what, answer.__name__, mode, framing,
                                         " ".join(options)), test))


def right_servers():
    for framing in ALL:
        passes("echo", framing, servers.echo)
        passes("echo", framing, servers.in_pieces, "-d", "4")
        passes("rate", framing, servers.echo, "-r", "500")
    for framing in ["null", "ws-text", "ws-binary"]:
        passes("broadcast", framing, servers.broadcast, "-c", "3", "-S", "2", "-d", "3")
        passes("storm", framing, servers.echo)
        passes("idle", framing, servers.echo, "-p", str(os.getpid()))
    for framing in SOCKETS:
        passes("echo", framing, servers.fragmented, "-d", "2")
    passes("echo", "null", servers.echo, "--same", "-d", "4")
    fails("echo", "null", servers.swaps_bytes, "bytes .* of message 3 are swapped", "--same")
    for size in ["1", "11", "125", "126", "65535", "65536", "200000"]:
        passes("echo", "ws-binary", servers.echo, "-s", size)
        passes("echo", "length32", servers.echo, "-s", size)


def faults_of_all():
    for framing in ALL:
        websocket = framing in SOCKETS
        fails("echo", framing, servers.swaps_bytes, r"bytes \d+ and \d+ of message 3 are swapped")
        fails("echo", framing, servers.wrong_byte,
              r"message 3 came wrong: byte 4\d is 0x\w\w, not 0x\w\w; 1 of \d+ bytes differ")
        fails("echo", framing, servers.repeats_byte, r"message 3 came wrong: byte [345]\d is")
        fails("echo", framing, servers.drops,
              "message 3 has not come back for 0.5 s: it is missing, or late")
        fails("echo", framing, servers.drops, r"message 4 of connection \d came, and message 3 "
              "was due: one is missing", "-d", "3")
        fails("echo", framing, servers.repeats, "message 3 .*came twice")
        fails("echo", framing, servers.repeats, "message 3 .*came twice", "-d", "3")
        fails("echo", framing, servers.reorders, "message 4 of .* and message 3 was due",
              "-d", "3")
        fails("echo", framing, servers.cuts, "20 of 64 bytes of message 3 came, and then "
              "nothing" if framing == "raw" else "message 3 was cut short")
        fails("echo", framing, servers.cuts, "message 3 was cut short", "-d", "3")
        fails("echo", framing, servers.is_late, "late")
        fails("echo", framing, servers.closes, "the server closed it without a Close frame "
              "after 3 messages" if websocket else "the server closed it after 3 messages")
        fails("echo", framing, servers.closes_in_the_middle,
              r"the server closed it in the middle of message 3, after 2\d of 6\d bytes")
        fails("echo", framing, servers.never_answers, "message 0 has not come back")
        fails("echo", framing, servers.mixes_clients, r"message 3 of connection \d came, and "
              "message 3 of connection \\d was due: clients are mixed up")
        fails("echo", framing, servers.mixes_halves, r"message 3 is mixed with another: from "
              r"byte 3\d on it is message 2 of connection \d")
    for framing in ALL[1:]:
        fails("echo", framing, servers.lengthens, "message 3 (was made longer|came wrong|does "
              "not end)")
        fails("rate", framing, servers.swaps_bytes, "are swapped", "-r", "300")
        fails("rate", framing, servers.drops, "message 3", "-r", "300")


def faults_of_broadcast():
    for framing in ALL[1:]:
        for wrong, says in [(servers.drops, "message . .*(missing, or late|one is missing)"),
                             (servers.swaps_bytes, "are swapped"),
                             (servers.cuts, "message . was cut short"),
                             (servers.repeats, "one came twice"),
                             (servers.closes_in_the_middle, "in the middle of")]:
            fails("broadcast", framing, servers.broadcast_fault(wrong), says,
                  "-c", "3", "-d", "3")
        fails("broadcast", framing, servers.echo, "a message reached 1 of 2 clients", "-T", "0.1")


def faults_of_websocket():
    for framing in SOCKETS:
        for answer, says in [
                (servers.closes_with_a_code, "after 3 messages with code 1011: out of order"),
                (servers.masks, "after 3 messages, a frame is masked"),
                (servers.reserved_bits, "a frame has reserved bits set"),
                (servers.unknown_opcode, "an opcode that does not exist"),
                (servers.long_length, "length is not in its shortest form"),
                (servers.continues_nothing, "a continuation frame continues nothing"),
                (servers.begins_within, "a message begins inside a fragmented one"),
                (servers.long_ping, "a control frame is fragmented or longer"),
                (servers.other_kind, "a message came back as (text|binary), and was sent as")]:
            fails("echo", framing, answer, says)
    wrong = "connection \\d: the answer to the handshake is wrong: "
    for name, handshake, says in [
            ("wrong key", lambda key: accept(key[1:] + b"A"),
             "its Sec-WebSocket-Accept does not belong to the key"),
            ("short key", lambda key: accept(key[:-1]), "its Sec-WebSocket-Accept"),
            ("no key", lambda key: accept(key).replace(b"-accept", b"-accepts"),
             "it has no Sec-WebSocket-Accept"),
            ("403", lambda key: accept(key, status=b"403 Forbidden"),
             "it is `HTTP/1.1 403 Forbidden`, not `HTTP/1.1 101`"),
            ("no upgrade", lambda key: accept(key, upgrade=b""), "it has no `Upgrade"),
            ("no connection", lambda key: accept(key, connection=b"Connection: close\r\n"),
             "it has no `Connection"),
            ("extension", lambda key: accept(key, more=b"Sec-WebSocket-Extensions: a\r\n"),
             "it grants an extension"),
            ("subprotocol", lambda key: accept(key, more=b"Sec-WebSocket-Protocol: a\r\n"),
             "it names a subprotocol"),
            ("endless", lambda key: accept(key, more=b"A: " + b"b" * 9000),
             "its head is longer than 8192 bytes")]:
        handshake.__name__ = name
        for mode in ["echo", "storm", "idle", "broadcast"]:
            fails(mode, "ws-text", servers.echo, wrong + says, "-p", str(os.getpid()),
                  handshake=handshake)
    fails("echo", "ws-text", servers.echo, "a message came before one was sent",
          handshake=lambda key: accept(key, rest=servers.frame(1, b"hello")))
    fails("echo", "ws-text", servers.echo, "0 of 2 connections were made and their handshake "
          "answered, and then none for 0.5 s", handshake=lambda key: b"")
    fails("storm", "ws-text", servers.echo, "a handshake was not answered",
          handshake=lambda key: b"")
    passes("echo", "ws-text", servers.echo,
           handshake=lambda key: accept(key, rest=servers.frame(9, b"ping")))


def deflates(key):
    return accept(key, more=b"Sec-WebSocket-Extensions: permessage-deflate; "
                  b"server_no_context_takeover; client_no_context_takeover\r\n")


def compressed():
    for framing in SOCKETS:
        passes("echo", framing, servers.deflated, "--deflate", handshake=deflates)
        passes("echo", framing, servers.echo, "--deflate", handshake=deflates)
        fails("echo", framing, servers.deflated_wrongly, "differ|wrong|byte", "--deflate",
              handshake=deflates)
        fails("echo", framing, servers.no_deflate, "can't be inflated", "--deflate",
              handshake=deflates)
        fails("echo", framing, servers.echo, "does not grant permessage-deflate", "--deflate")
        fails("echo", framing, servers.echo, "grants an extension that was not asked for",
              handshake=deflates)
        fails("echo", framing, servers.deflated, "reserved bits set")
    fails("echo", "null", servers.echo, "--deflate needs the framing", "--deflate")


def faults_of_connecting():
    for framing in STREAMS:
        for answer, says in [(servers.swaps_bytes, "are swapped"), (servers.cuts, "cut short|is "
                              "late|first message was not answered|connections were answered"),
                             (servers.closes, "the server closed it"),
                             (servers.repeats, "more came than (was|were) sent|bytes more came")]:
            for mode in ["storm", "idle"]:
                fails(mode, framing, servers.fault(answer.fault, 0), says, "-p", str(os.getpid()))
    for framing in SOCKETS:
        fails("idle", framing, servers.fault(servers.swaps_bytes.fault, 0), "are swapped", "-p", str(os.getpid()))
        fails("idle", framing, servers.never_answers, "0 of 2 connections were answered",
              "-p", str(os.getpid()))


def texts():
    """The modes whose messages are texts of their own. A fault ends a run long before its
    time, also on a machine that is busy."""
    long = ("-t", "5")
    for framing in ["null", "line", "length16", "ws-text"]:
        passes("calls", framing, servers.adds)
        passes("calls", framing, servers.adds_in_pairs, "-d", "4")
        passes("rpc", framing, servers.adds, "-d", "4")
        passes("walk", framing, servers.echo, "-d", "4")
        passes("walk", framing, servers.in_pieces, "-d", "4")
        for wrong, says in [(servers.adds_wrongly, r"connection \d: -?\d+ \+ -?\d+ is not -?\d+"),
                            (servers.adds_twice, "an answer that was not asked for"),
                            (servers.answers_something, "this is no answer to add"),
                            (servers.drops, "no answer for 0.5 s")]:
            fails("calls", framing, servers.but(servers.adds, wrong), says, *long)
        fails("calls", framing, servers.adds_for_one,
              "connection 1: nothing was answered in the measured time", "-t", "1")
        fails("rpc", framing, servers.but(servers.adds, servers.adds_wrongly), "answer 3 is wrong", *long)
        fails("walk", framing, servers.swaps_bytes, "answer 3 is wrong: player", *long)
        fails("walk", framing, servers.repeats, "answer 4 is wrong: player", "-d", "3", *long)
        fails("walk", framing, servers.drops, "no answer for 0.5 s", *long)
        fails("walk", framing, servers.closes, "the server closed it .*after 3 messages", *long)
        fails("game", framing, servers.echo, "answer 0 is wrong: step", *long)
        passes("chat", framing, servers.chats, "-c", "21", "-d", "4")
        fails("chat", framing, servers.tells_others, "answer 1 is wrong", "-c", "21", *long)
        fails("chat", framing, servers.but(servers.chats, servers.drops), "no answer for 0.5 s",
              "-c", "21", *long)


def game():
    """The load's answers are those that Python computes."""
    port = servers.free_port()
    with subprocess.Popen([sys.executable, "bench/peers/jit/serve.py", "game", str(port)],
                          stdout=subprocess.PIPE) as server:
        try:
            server.stdout.readline()
            done = subprocess.run([LOAD, "game", "127.0.0.1:%d" % port, "-c", "3", "-d", "4",
                                   "-w", "0", "-t", "0.3", "--json"],
                                  capture_output=True, text=True, timeout=20)
        finally:
            server.terminate()
    if done.returncode != 0 or not json.loads(done.stdout)["messages"] > 10:
        raise Wrong("exit code %d: %s %s" % (done.returncode, done.stdout, done.stderr))


def rooms():
    for framing in ALL[1:]:
        passes("room", framing, servers.broadcast, "-c", "3", "-r", "100", "-b", "5")
        passes("room", framing, servers.broadcast, "-c", "3", "-r", "100", "-S", "2")
        for wrong, says in [(servers.drops, "message . .*(missing, or late|one is missing)"),
                            (servers.swaps_bytes, "are swapped"),
                            (servers.repeats, "one came twice")]:
            fails("room", framing, servers.broadcast_fault(wrong), says, "-c", "3", "-r", "100")
    greeting = {"handshake": servers.greeting}
    passes("socketio", "ws-text", servers.socketio, "-c", "3", "-r", "100", **greeting)
    fails("socketio", "ws-text", servers.socketio_drops, "message .* was due: one is missing", "-c", "3",
          "-r", "100", **greeting)
    fails("socketio", "ws-text", servers.socketio_says, "this was not sent: 42", "-r", "100",
          **greeting)
    fails("socketio", "ws-text", servers.echo, "0 of 2 clients were greeted")


def over_tls():
    with tempfile.TemporaryDirectory() as folder:
        files = [os.path.join(folder, name) for name in ("certificate.pem", "key.pem")]
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
                        "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
                        "/CN=localhost", "-out", files[0], "-keyout", files[1]],
                       check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
    for framing in ["null", "length32", "ws-text"]:
        passes("echo", framing, servers.echo, "--tls", "-d", "8", tls=context)
        passes("echo", framing, servers.echo, "--tls", "-s", "200000", tls=context)
        passes("storm", framing, servers.echo, "--tls", tls=context)
        fails("echo", framing, servers.swaps_bytes, "bytes .* of message 3 are swapped", "--tls",
              tls=context)
        fails("echo", framing, servers.closes, "the server closed it .*after 3 messages", "--tls",
              tls=context)
    fails("echo", "raw", servers.fault(servers.closes.fault, 0),
          "connection .: TLS handshake: the server closed it", "--tls")


# sync-bench

RAMP_FRAMINGS = {"ws-text": "text", "ws-binary": "binary"}


def ramp(name, framing, answer, check, *options, url=None, address="127.0.0.1", **more):
    """Runs sync-bench; `check` gets its exit code, the JSON and what it said besides."""
    def test():
        with Server(framing, answer, address=address, **more) as server:
            scheme = "ws" if framing in SOCKETS else "tcp"
            wanted = url or "%s://%s:%d%s" % (scheme, server.host.decode(), server.port,
                                              "/path?a=b" if scheme == "ws" else "")
            command = [RAMP, "--json", "--start", "5", "--step", "5", "--max", "10",
                       "--every", "0.4", "--rate", "20", "--timeout", "2", "--limit", "1000",
                       "--framing", RAMP_FRAMINGS.get(framing, framing)]
            done = subprocess.run(command + list(options) + [wanted], capture_output=True,
                                  text=True, timeout=20)
            if server.wrong:
                raise Wrong("the server saw: " + server.wrong[0])
        said = json.loads(done.stdout) if done.stdout else None
        if not check(done.returncode, said, done.stderr):
            raise Wrong("exit code %d: %s %s" % (done.returncode, done.stdout, done.stderr))
    TESTS.append(("sync-bench: %s: %s, %s %s" % (name, answer.__name__, framing,
                                                 " ".join(options)), test))


def held_ten(code, said, _):
    rates = [step["messages_per_second"] for step in said["steps"]]
    return (code == 0 and said["held"] == 10 and said["stop"] == "max" and
            [step["users"] for step in said["steps"]] == [5, 10] and
            20 <= rates[0] <= 180 and 40 <= rates[1] <= 360 and
            all(0 < step["p50_ms"] <= step["p99_ms"] <= 1000 for step in said["steps"]))


def stopped(stop, why, held=0):
    return lambda code, said, _: (code == 1 and said["stop"] == stop and
                                  re.search(why, said["why"]) and said["held"] == held)


def unanswered(code, said, err):
    return (code == 1 and said["stop"] == "errors" and "no answers came in 0.4 s" in said["why"] and
            said["steps"][0]["p99_ms"] is None and "no answers         -         -" in err)


def refused(why):
    return lambda code, said, err: code == 2 and said is None and re.search(why, err)


def ramps():
    ids = '{"id": {id}}'
    for framing in ALL:
        ramp("holds", framing, servers.echo, held_ten)
        ramp("holds", framing, servers.in_pieces, held_ten, "--message", "a {id}")
        ramp("never answers", framing, servers.never_answers,
             stopped("errors", "a message had no answer within 0.2 s"), "--timeout", "0.2")
        # Without a framing, two that come together are one.
        count = "[23]" if framing == "raw" else "3"
        ramp("closes", framing, servers.closes,
             stopped("errors", r"connection \d: the server closed it (without a Close frame )?"
                     "after %s mess" % count))
    for framing, other in (("line", "null"), ("null", "line"), ("length32", "null")):
        ramp("another framing", framing, servers.echo, unanswered, "--framing", other)
        ramp("another framing", framing, servers.echo, unanswered, "--framing", other,
             "--limit", "10")
    for framing in ALL[1:]:
        ramp("sends ids", framing, servers.checks_ids, held_ten, "--message", ids)
        ramp("matches ids", framing, servers.counts_ids, held_ten, "--message", ids)
        ramp("matches ids", framing, servers.broadcast, held_ten, "--message", ids)
        ramp("counts any message", framing, servers.broadcast, held_ten)
        ramp("too slow", framing, servers.gets_slower,
             stopped("latency", "p99 was .* ms, above 300 ms", held=5), "--limit", "300",
             "--rate", "4", "--every", "0.8")
    for framing in SOCKETS:
        ramp("ping", framing, servers.fragmented, held_ten)
        ramp("wrong frame", framing, servers.masks, stopped("errors", "a frame is masked"))
        ramp("close frame", framing, servers.closes_with_a_code,
             stopped("errors", r"the server closed it after 3 messages with code 1011: out of order"))
        ramp("no handshake", framing, servers.echo,
             stopped("errors", "a handshake was not answered in time"), handshake=lambda key: b"",
             *["--timeout", "0.3"])
        ramp("wrong handshake", framing, servers.echo,
             stopped("errors", "handshake is wrong: its Sec-WebSocket-Accept does not belong"),
             handshake=lambda key: accept(key[1:] + b"A"))
        ramp("IPv6", framing, servers.echo, held_ten, address="::1")
    ramp("nobody listens", "null", servers.echo, refused("Connection refused; is the server"),
         url="tcp://127.0.0.1:1")
    for url, why in [("http://a:1", "a URL is tcp://HOST:PORT or ws://"),
                     ("tcp://127.0.0.1", "the port is missing"),
                     ("tcp://[::1:7", "the ] behind"), ("tcp://a:b", "a URL is"),
                     ("tcp://:7", "a URL is"), ("wss://a", "TLS is not spoken"),
                     ("tcp://127.0.0.1:7/a", "only ws:// has a path"),
                     ("ws://127.0.0.1:7/a", "does not go with the framing null")]:
        ramp(url, "null", servers.echo, refused(re.escape(why)), url=url)
    for option, value in [("--rate", "0"), ("--max", "x"), ("--limit", "-1"), ("--nope", "1"),
                          ("--framing", "cord")]:
        ramp("wrong option", "null", servers.echo, lambda code, said, _: code == 2, option, value)
    TESTS.append(("sync-bench names the file limit", ramp_file_limit))
    TESTS.append(("sync-bench finds a name's address", ramp_name))


def ramp_plain(server, *options, before=""):
    command = before + " ".join([RAMP, "--every", "0.6", "--rate", "20", "--limit", "2000",
                                 *options, "tcp://localhost:%d" % server.port])
    return subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=20)


def ramp_file_limit():
    with Server("null", servers.echo) as server:
        done = ramp_plain(server, "--start", "10", "--step", "30", before="ulimit -n 50; exec ")
    if done.returncode != 1 or "held 34 users" not in done.stdout or \
            "file limit is 50 (ulimit -n), which is 34 users" not in done.stdout:
        raise Wrong("exit code %d: %s %s" % (done.returncode, done.stdout, done.stderr))


def ramp_name():
    """localhost is ::1 first on many machines, and nobody listens there."""
    with Server("null", servers.echo) as server:
        done = ramp_plain(server, "--start", "3", "--max", "3")
    if done.returncode != 0 or "held 3 users within 2000 ms" not in done.stdout:
        raise Wrong("exit code %d: %s %s" % (done.returncode, done.stdout, done.stderr))


def parts():
    """The parts that need no server, in C. Returns (passed, failed)."""
    done = subprocess.run([PARTS], capture_output=True, text=True, timeout=60)
    lines = done.stdout.strip().splitlines()
    found = re.fullmatch(r"(\d+) passed, (\d+) failed", lines[-1]) if lines else None
    print("".join(line + "\n" for line in lines[:-1]), end="")
    if not found or done.returncode not in (0, 1):
        print("FAILED: %s ended with exit code %d: %s" % (PARTS, done.returncode, done.stderr))
        return 0, 1
    return int(found.group(1)), int(found.group(2))


def run(test):
    name, body = test
    try:
        body()
    except (Wrong, runs.Wrong) as problem:
        return "FAILED: %s\n        %s" % (name, problem)
    except Exception as problem:  # a test that breaks has failed
        return "FAILED: %s\n        %r" % (name, problem)
    return None


def main():
    right_servers()
    faults_of_all()
    faults_of_broadcast()
    faults_of_websocket()
    faults_of_connecting()
    compressed()
    texts()
    rooms()
    over_tls()
    TESTS.append(("the game's steps are those of Python", game))
    ramps()
    TESTS.extend(runs.tests())
    passed, failed = parts()
    wanted = [test for test in TESTS if all(word in test[0] for word in sys.argv[1:])]
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for said in pool.map(run, wanted):
            passed, failed = passed + (said is None), failed + (said is not None)
            if said:
                print(said, flush=True)
    print("%d passed, %d failed" % (passed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
