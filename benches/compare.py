#!/usr/bin/env python3
"""The whole server beside nginx: the same work, on the same machine, in turns.

    cargo build --release --workspace
    benches/compare.py

Needs wrk; uses nginx, strace and the `limit` program where they are found. In every round each server is started,
warmed, measured and stopped in turn, so that ratios compare neighbours in time. What is printed is a Markdown report:
medians over the rounds, and medians of the ratios within a round. benches/README.md says what each row means.
"""
import argparse
import collections
import contextlib
import datetime
import math
import os
import pathlib
import platform
import random
import re
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
HOST = "127.0.0.1"
CONNECTIONS = 64
SLOW_CLIENTS, SLOW_RATE = 8, 50_000  # bytes a second
SHARE_TRIALS = 10
STARTS = 7  # in each round
PATIENCE = 15  # seconds, for whatever should come at once
STOLEN = 0.01  # of the processors' time: above it a measurement is taken again
TRIES = 4  # of one measurement at most; the least disturbed one counts

# One configuration of unirs for all rows; a row adds its worker class, and only "access log" a log.
UNIRS = "--workers 2 --backlog 2048 --worker-connections 16000 --keep-alive 75 --log-level warning".split()
SYNC = "--worker-class sync".split()
THREADED = "--worker-class threaded --threads 32".split()

NGINX = """
daemon off; worker_processes 2; worker_rlimit_nofile {files}; pid {folder}/nginx.pid; error_log {folder}/nginx.log crit;
events {{ worker_connections 16000; }}
http {{
    access_log off; keepalive_requests 1000000000; keepalive_timeout 75s;
    client_body_buffer_size 128k; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    server {{
        listen {host}:{port} backlog=2048; default_type text/plain;
        location = / {{ return 200 "Hello, World!"; }}
        location = /echo {{ return 200 "$content_length"; }}
    }}
}}
"""

POST = 'wrk.method = "POST"; wrk.body = string.rep("x", 65536)'

ONE_IN_A_HUNDRED_BURNS = """
local count, hello, burn = 0
function init() math.randomseed(os.time()); count = math.random(0, 99); hello = wrk.format("GET", "/"); burn = wrk.format("GET", "/burn") end
function request() count = count + 1; if count % 100 == 0 then return burn end; return hello end
"""


class Failure(Exception):
    """A measurement that did not come about."""


# ---- processes: what they are, what they have used, and that none is left


def stat(pid):
    """The fields of /proc/PID/stat behind the name; none if it has ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return []


def tree(root):
    """This process and all that descend from it."""
    children = collections.defaultdict(list)
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := stat(name)):
            children[int(fields[1])].append(int(name))
    found = [root]
    for pid in found:
        found += children[pid]
    return found


def cpu_seconds(pids):
    """User and system time so far."""
    ticks = sum(int(fields[11]) + int(fields[12]) for fields in map(stat, pids) if fields)
    return ticks / os.sysconf("SC_CLK_TCK")


def pss(pids):
    """Proportional set size, in bytes: shared pages count by share."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            text = pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text()
            total += int(re.search(r"^Pss:\s+(\d+)", text, re.M)[1]) * 1024
    return total


def stolen_ticks():
    """What the host has given to others of the time of the processors, and all of it: proc_stat(5)."""
    fields = pathlib.Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    return int(fields[7]), sum(map(int, fields))


STARTED = []  # every process that may still run: none is left behind


def start(command, in_own_session=False, **options):
    """A process to which ^C does not go: it is ours to pass on."""
    apart = {"start_new_session": True} if in_own_session else {"preexec_fn": os.setpgrp}
    STARTED[:] = [process for process in STARTED if process.poll() is None]
    STARTED.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, **apart, **options))
    return STARTED[-1]


def kill(process):
    if process.poll() is None:
        process.kill()
    process.wait()


def free_port():
    """Below the ports that clients get, or a client that comes early might connect to itself."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    while True:
        port = random.randrange(10_000, max(lowest, 20_000))
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind((HOST, port))
            return port


class Server:
    """A server that answers; stopped at the end of its `with`."""

    def __init__(self, bench, shape):
        self.port = free_port()
        self.folder = pathlib.Path(tempfile.mkdtemp(dir=bench.folder))
        self.root = None
        values = {"port": self.port, "folder": self.folder, "host": HOST, "files": bench.files}
        if shape.config:
            (self.folder / "config").write_text(shape.config.format(**values))
        command = [str(part).format(**values) for part in shape.command]
        begun = time.perf_counter()
        try:
            with open(self.folder / "output", "wb") as output:
                # Linux may deal out processors by sessions: the server is one, its clients together are another.
                self.root = start(
                    command, in_own_session=True, cwd=self.folder, env=bench.environment, stdout=output, stderr=output
                )
            self.await_answer(begun)
        except BaseException:
            self.stop()
            raise
        self.startup = time.perf_counter() - begun

    def await_answer(self, begun):
        while True:
            with contextlib.suppress(ConnectionError):
                with socket.create_connection((HOST, self.port), PATIENCE) as client:
                    client.sendall(REQUEST)
                    if read_answer(client).startswith(b"HTTP/1.1 200"):
                        return
            if time.perf_counter() - begun > PATIENCE or self.root.poll() is not None:
                raise Failure("does not start: " + (self.folder / "output").read_text(errors="replace")[-500:].strip())
            time.sleep(0.0002)

    def pids(self):
        return tree(self.root.pid)

    def workers(self):
        return [pid for pid in self.pids() if pid != self.root.pid]

    def stop(self):
        if self.root:
            pids = self.pids()
            if self.root.poll() is None:
                self.root.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.root.wait(5)
            for pid in pids:
                with contextlib.suppress(OSError):
                    if os.getsid(pid) == self.root.pid:
                        os.kill(pid, signal.SIGKILL)
            kill(self.root)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


# ---- clients

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


def read_answer(client):
    """One response with a Content-Length."""
    answer, length = b"", None
    while length is None or len(answer) < length:
        piece = client.recv(65536)
        if not piece:
            raise ConnectionResetError("the server closed the connection")
        answer += piece
        if length is None and (end := answer.find(b"\r\n\r\n")) >= 0:
            length = end + 4 + int(re.search(rb"(?i)\r\ncontent-length: *(\d+)", answer[:end])[1])
    return answer


class Wrk:
    """A run of wrk under way."""

    def __init__(self, server, seconds, path="/", connections=CONNECTIONS, threads=2, close=False, script=None):
        command = ["wrk", f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--latency"]
        command += ["-H", "Connection: close"] if close else []
        if script:
            file = server.folder / "script.lua"
            file.write_text(script)
            command += ["-s", file]
        self.seconds = seconds
        self.process = start([*command, f"http://{HOST}:{server.port}{path}"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def result(self):
        try:
            text = self.process.communicate(timeout=self.seconds + PATIENCE)[0]
        except subprocess.TimeoutExpired:
            raise Failure("wrk does not end") from None
        finally:
            kill(self.process)
        if not (requests := re.search(r"(\d+) requests in", text)) or int(requests[1]) == 0:
            raise Failure("wrk: " + text[-500:].strip())
        errors = re.search(r"connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        return {
            "requests": int(requests[1]),
            "rps": float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1]),
            "p50": milliseconds(text, 50),
            "p99": milliseconds(text, 99),
            "errors": sum(map(int, errors.groups())) if errors else 0,
            "refused": int(refused[1]) if refused else 0,
        }


def milliseconds(text, percentile):
    value, unit = re.search(rf"\n +{percentile}% +([\d.]+)(us|ms|s|m|h)\b", text).groups()
    return float(value) * {"us": 1e-3, "ms": 1, "s": 1e3, "m": 6e4, "h": 3.6e6}[unit]


def load(server, seconds, **options):
    """wrk's figures, and the server's CPU time for each request."""
    before = cpu_seconds(server.pids())
    figures = Wrk(server, seconds, **options).result()
    figures["cpu"] = (cpu_seconds(server.pids()) - before) / figures["requests"] * 1e6
    return figures


def warmed(server, seconds, **options):
    Wrk(server, 1, **options).result()
    return load(server, seconds, **options)


def await_rest(server):
    """Waits until the server has nothing left to do."""
    end, before = time.perf_counter() + PATIENCE, -1
    while (now := cpu_seconds(server.pids())) > before:
        if time.perf_counter() > end:
            raise Failure("does not come to rest")
        before = now
        time.sleep(0.2)


class IdleClients:
    """Kept-alive connections that have had one answer each."""

    def __init__(self, server):
        self.server, self.clients = server, []

    def grow_to(self, wanted):
        while len(self.clients) < wanted:
            batch = []
            for _ in range(min(100, wanted - len(self.clients))):
                batch.append(socket.create_connection((HOST, self.server.port), PATIENCE))
                self.clients.append(batch[-1])
            for client in batch:
                client.sendall(REQUEST)
            for client in batch:
                read_answer(client)

    def lost(self):
        """How many the server has closed meanwhile."""
        lost = 0
        for client in self.clients:
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.recv(1)
                lost += 1
        return lost

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for client in self.clients:  # with a reset: ten thousand ports would wait for a minute else
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.close()


class SlowReaders:
    """Clients that want the large answer and read a little of it ten times a second."""

    def __init__(self, server):
        self.server, self.read, self.failure = server, 0, None
        self.end = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self):
        try:
            with contextlib.ExitStack() as stack:
                clients = []
                for _ in range(SLOW_CLIENTS):
                    client = stack.enter_context(socket.socket())
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
                    client.settimeout(PATIENCE)
                    client.connect((HOST, self.server.port))
                    client.sendall(REQUEST.replace(b" / ", b" /large "))
                    clients.append(client)
                while not self.end.wait(0.1):
                    for client in clients:
                        piece = client.recv(SLOW_RATE // 10)
                        if not piece:
                            raise Failure("a slow reader was cut off")
                        self.read += len(piece)
        except (OSError, Failure) as error:
            self.failure = error

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.end.set()
        self.thread.join()


# ---- the work


class Shape:
    """A way to start a server."""

    def __init__(self, command, config=None):
        self.command, self.config = command, config


class Bench:
    """What there is to compare, and how long."""

    def __init__(self, options, folder):
        self.options, self.folder, self.seconds = options, folder, options.seconds
        self.files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        own = ("PORT", "WEB_CONCURRENCY", "UNIRS_CMD_ARGS", "LISTEN_FDS", "LISTEN_PID", "NOTIFY_SOCKET")
        self.environment = {name: value for name, value in os.environ.items() if name not in own}
        self.shapes, self.failures = {}, []
        if nginx := shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin"):
            self.shapes["nginx"] = Shape([nginx, "-p", "{folder}", "-c", "{folder}/config"], NGINX)
        if options.limit.exists():
            self.shapes["limit"] = Shape(["sh", "-c", '"$0" "$1" & exec "$0" "$1"', options.limit, "{port}"])
        self.add("unirs sync", *SYNC, "hello")
        self.add("unirs sync, log", *SYNC, "--access-logfile", "{folder}/access.log", "hello")
        self.add("unirs threaded", *THREADED, "hello")
        if options.library.exists():
            self.add("unirs sync, library", *SYNC, options.library)
            self.add("unirs threaded, library", *THREADED, options.library)

    def add(self, name, *arguments):
        self.shapes[name] = Shape([self.options.unirs, *UNIRS, "--bind", f"{HOST}:{{port}}", *arguments])

    def server(self, name):
        if name not in self.shapes:
            raise Failure("not found")
        return Server(self, self.shapes[name])

    # Each row is a list of (server, how it is measured); a measurement returns lines of its row's table, by name.

    def hello(self, name):
        with self.server(name) as server:
            figures = warmed(server, self.seconds)
            return {name: figures | {"pss": pss(server.pids()) / 2**20}}

    def close(self, name):
        with self.server(name) as server:
            return {name: warmed(server, self.seconds, close=True)}

    def post(self, name):
        with self.server(name) as server:
            return {name: warmed(server, self.seconds, path="/echo", script=POST)}

    def sleep(self, name):
        with self.server(name) as server:
            return {name: warmed(server, self.seconds, path="/sleep")}

    def burn(self, name):
        with self.server(name) as server:
            Wrk(server, 1, script=ONE_IN_A_HUNDRED_BURNS).result()
            await_rest(server)  # up to 64 burns go on whose clients have left
            return {name: load(server, self.seconds, script=ONE_IN_A_HUNDRED_BURNS)}

    def mixed(self, name):
        lines = {}
        for when, path in (("at once", None), ("after hellos alone", "/"), ("after sleeps alone", "/sleep")):
            with self.server(name) as server:
                if path:
                    Wrk(server, self.options.alone, path=path).result()
                half = {"connections": CONNECTIONS // 2, "threads": 1}
                runs = [Wrk(server, self.seconds, path=path, **half) for path in ("/", "/sleep")]
                hellos, sleeps = [run.result() for run in runs]
            lines[f"{name}, {when}: hellos"], lines[f"{name}, {when}: sleeps"] = hellos, sleeps
        return lines

    def large(self, name):
        fast = {"path": "/large", "connections": CONNECTIONS - SLOW_CLIENTS}
        with self.server(name) as server:
            alone = warmed(server, self.seconds, **fast)
            with SlowReaders(server) as slow:
                time.sleep(0.5)
                beside = load(server, self.seconds, **fast)
            if slow.failure:
                raise Failure(f"a slow reader: {slow.failure}")
            beside["slow"] = slow.read / SLOW_CLIENTS / (self.seconds + 0.5) / 1000
        return {f"{name}, alone": alone, f"{name}, beside slow ones": beside}

    def idle(self, name):
        with self.server(name) as server:
            lines = {f"{name}, 0 idle": warmed(server, self.seconds)}
            before = pss(server.pids())
            with IdleClients(server) as clients:
                for count in (1_000, 10_000):
                    if count + 1_000 > self.files:
                        self.failures.append(f"{name}: {count:,} idle connections; ulimit -n is {self.files:,}")
                        break
                    clients.grow_to(count)
                    growth = (pss(server.pids()) - before) / count / 1024
                    figures = load(server, self.seconds) | {"growth": growth, "lost": clients.lost()}
                    lines[f"{name}, {count:,} idle"] = figures
            time.sleep(0.5)
            lines[f"{name}, 0 idle again"] = load(server, self.seconds)  # what the machine did meanwhile
        return lines

    def startup(self, name):
        times = []
        for _ in range(STARTS):
            with self.server(name) as server:
                times.append(server.startup * 1e3)
        return {name: {"start": statistics.median(times)}}

    def shares(self, name, workers):
        shape = self.shapes[name]
        command = [str(workers) if part == "2" else part for part in shape.command]
        config = (shape.config or "").replace("worker_processes 2", f"worker_processes {workers}")
        worst, shown = 1.0, []
        with Server(self, Shape(command, config or None)) as server:
            for _ in range(math.ceil(SHARE_TRIALS / self.options.rounds)):
                for _ in range(3):  # wrk may have come too late to be seen
                    run = Wrk(server, 1)
                    try:
                        time.sleep(0.6)
                        counts = sorted(connections_of(server), reverse=True)
                    finally:
                        run.result()
                    if any(counts):
                        break
                shown.append(":".join(map(str, counts)))
                worst = max(worst, counts[0] / counts[-1] if counts[-1] else math.inf)
                time.sleep(0.2)
        return {f"{name}, {workers} workers": {"worst": worst, "shares": shown}}


def connections_of(server):
    """How many established connections each worker has."""
    inodes = set()
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].split(":")[1], 16) == server.port and fields[3] == "01":
            inodes.add(f"socket:[{fields[9]}]")
    return [sum(link(entry) in inodes for entry in os.scandir(f"/proc/{pid}/fd")) for pid in server.workers()]


def link(entry):
    try:
        return os.readlink(entry.path)
    except OSError:
        return ""


# ---- the rows, and what is wanted of them


class Bar:
    """A figure that is to be at most, or at least, so much: computed for each round, then the median is judged."""

    def __init__(self, what, figure, reach=None, most=None, least=None, worst=False):
        self.what, self.figure, self.reach, self.most, self.least = what, figure, reach, most, least
        self.fold = max if worst else statistics.median

    def line(self, rounds):
        values = []
        for lines in rounds:
            with contextlib.suppress(KeyError):
                values.append(self.figure(lines))
        bar, sign = (self.least, "≥") if self.most is None else (self.most, "≤")
        wanted = f"{sign} {bar:,}" + (f" ({self.reach:,})" if self.reach else "")
        if not values:
            return f"| {self.what} | – | {wanted} | not measured |"
        value = self.fold(values)
        holds = value >= bar if self.most is None else value <= bar
        spread = f"{shown(min(values))}–{shown(max(values))}"
        return f"| {self.what} | {shown(value)} ({spread}) | {wanted} | {'holds' if holds else '**missed**'} |"


def ratio(key, name, reference):
    return lambda lines: lines[name][key] / lines[reference][key]


def value(key, name):
    return lambda lines: lines[name][key]


class Row:
    def __init__(self, title, work, bars):
        self.title, self.work, self.bars = title, work, bars


LIBRARY, POOL = "unirs sync, library", "unirs threaded, library"

ROWS = {
    "hello": Row(
        "Hello, keep-alive",
        [(name, Bench.hello) for name in ("nginx", "limit", "unirs sync", LIBRARY, "unirs threaded")],
        [
            Bar("hello, sync: CPU, × nginx", ratio("cpu", "unirs sync", "nginx"), most=0.97, reach=0.93),
            Bar("hello, sync: CPU, × limit", ratio("cpu", "unirs sync", "limit"), most=1.10, reach=1.05),
            Bar("hello, sync: requests/s, × nginx", ratio("rps", "unirs sync", "nginx"), least=1.0),
            Bar("hello, library: CPU, × built-in", ratio("cpu", LIBRARY, "unirs sync"), most=1.03, reach=1.0),
            Bar("hello, threaded: requests/s, × sync", ratio("rps", "unirs threaded", "unirs sync"), least=0.90, reach=1.0),
            Bar("hello, threaded: CPU, × sync", ratio("cpu", "unirs threaded", "unirs sync"), most=1.15, reach=1.06),
            Bar("PSS after it, sync, MiB", value("pss", "unirs sync"), most=5, reach=3),
            Bar("PSS after it, threaded, MiB", value("pss", "unirs threaded"), most=5, reach=3),
        ],
    ),
    "sleep": Row(
        "A handler that sleeps 5 ms",
        [(POOL, Bench.sleep)],
        [
            Bar("sleep: requests/s", value("rps", POOL), least=11_400, reach=12_300),
            Bar("sleep: p99, ms", value("p99", POOL), most=8, reach=6),
        ],
    ),
    "mixed": Row(
        "Hello and 5 ms sleep, 32 connections each",
        [(POOL, Bench.mixed)],
        [
            Bar(f"hellos beside sleeps, {when}: {key}, ms", value(key, f"{POOL}, {when}: hellos"), most=most, reach=reach)
            for when in ("at once", "after hellos alone", "after sleeps alone")
            for key, most, reach in (("p50", 2, 0.5), ("p99", 8, 6))
        ],
    ),
    "burn": Row(
        "Hello, and 1 % of requests burn 50 ms of CPU",
        [(POOL, Bench.burn)],
        [Bar("1 % burn: p50 of all, ms", value("p50", POOL), most=1.5, reach=1)],
    ),
    "close": Row(
        "Hello, `Connection: close`",
        [(name, Bench.close) for name in ("nginx", "unirs sync", "unirs threaded")],
        [
            Bar("close: requests/s, × nginx", ratio("rps", "unirs sync", "nginx"), least=1.1, reach=1.25),
            Bar("close: CPU, × nginx", ratio("cpu", "unirs sync", "nginx"), most=0.8, reach=0.65),
        ],
    ),
    "post": Row(
        "POST 64 KiB",
        [(name, Bench.post) for name in ("nginx", LIBRARY)],
        [Bar("POST 64 KiB: requests/s, × nginx", ratio("rps", LIBRARY, "nginx"), least=1.3, reach=1.4)],
    ),
    "large": Row(
        f"1 MiB from memory, {CONNECTIONS - SLOW_CLIENTS} fast clients, {SLOW_CLIENTS} that read 50 KB/s",
        [(name, Bench.large) for name in (LIBRARY, POOL)],
        [
            Bar(f"1 MiB, {kind}: requests/s of the fast, × alone", ratio("rps", f"{name}, beside slow ones", f"{name}, alone"), least=0.95)
            for kind, name in (("sync", LIBRARY), ("threaded", POOL))
        ],
    ),
    "idle": Row(
        "Hello beside idle kept-alive connections",
        [(name, Bench.idle) for name in ("unirs sync", "unirs threaded")],
        [
            bar
            for kind in ("sync", "threaded")
            for count in ("1,000", "10,000")
            for name in (f"unirs {kind}, {count} idle",)
            for bar in (
                Bar(f"{count} idle, {kind}: requests/s, × none", ratio("rps", name, f"unirs {kind}, 0 idle"), least=0.95),
                Bar(f"{count} idle, {kind}: CPU, × none", ratio("cpu", name, f"unirs {kind}, 0 idle"), most=1.05),
                Bar(f"{count} idle, {kind}: PSS for each, KiB", value("growth", name), most=4, reach=1),
            )
        ],
    ),
    "log": Row(
        "Hello with an access log",
        [(name, Bench.hello) for name in ("unirs sync", "unirs sync, log")],
        [Bar("access log: CPU, × without", ratio("cpu", "unirs sync, log", "unirs sync"), most=1.08, reach=1.04)],
    ),
    "start": Row(
        "From the start to the first 200",
        [(name, Bench.startup) for name in ("nginx", "unirs sync", "unirs threaded")],
        [Bar("start: × nginx", ratio("start", "unirs sync", "nginx"), most=1.0, reach=0.5)],
    ),
    "shares": Row(
        "64 kept-alive connections over the workers",
        [(name, lambda bench, name, n=n: bench.shares(name, n)) for n in (2, 4) for name in ("unirs sync", "nginx")],
        [
            Bar(f"shares of {n} workers: most ÷ least, worst of all", value("worst", f"unirs sync, {n} workers"), most=2, reach=1.2, worst=True)
            for n in (2, 4)
        ],
    ),
}

# What is counted with strace, apart from everything that is timed.
COUNTED = [
    ("hello", "unirs sync", {}),
    ("hello, access log", "unirs sync, log", {}),
    ("hello, threaded", "unirs threaded", {}),
    ("sleep, threaded", POOL, {"path": "/sleep"}),
    ("close", "unirs sync", {"close": True}),
    ("POST 64 KiB", LIBRARY, {"path": "/echo", "script": POST}),
    ("1 MiB", LIBRARY, {"path": "/large"}),
]


def count_calls(bench, name, options):
    """System calls for each request, the most frequent first."""
    with bench.server(name) as server:
        Wrk(server, 1, **options).result()
        report = server.folder / "calls"
        attach = [part for pid in server.pids() for part in ("-p", str(pid))]
        tracer = start(["strace", "-f", "-c", "-o", report, *attach], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(0.5)
            requests = Wrk(server, 2, **options).result()["requests"]
            tracer.send_signal(signal.SIGINT)
            tracer.wait(PATIENCE)
        finally:
            kill(tracer)
        found = re.findall(r"^ *[\d.]+ +[\d.]+ +\d+ +(\d+) +(?:\d+ +)?(\w+)$", report.read_text(), re.M)
    if not found:
        raise Failure("strace may not look at it")
    calls = sorted(((int(count) / requests, call) for count, call in found if call != "total"), reverse=True)
    return requests, ", ".join(f"{call} {share:.3f}" for share, call in calls if share >= 0.0005)


# ---- the report

COLUMNS = {
    "rps": "requests/s",
    "p50": "p50 ms",
    "p99": "p99 ms",
    "cpu": "CPU µs",
    "pss": "PSS MiB",
    "slow": "each slow one KB/s",
    "growth": "PSS for each idle KiB",
    "lost": "idle ones lost",
    "start": "ms",
    "worst": "most ÷ least",
    "shares": "trials",
    "stolen": "stolen %",
    "errors": "errors",
    "refused": "not 2xx",
}


def shown(number):
    if isinstance(number, str):
        return number
    return f"{number:,.0f}" if abs(number) >= 100 or number == 0 else f"{number:.2f}"


def fold(key, values):
    if key == "shares":
        return " ".join(share for trials in values for share in trials)
    return max(values) if key in ("errors", "refused", "lost", "worst", "stolen") else statistics.median(values)


def table(rounds):
    """All that was measured of a row."""
    names = list(dict.fromkeys(sorted((name for lines in rounds for name in lines), key=order)))
    keys = [key for key in COLUMNS if any(key in lines[name] for lines in rounds for name in lines)]
    compares = "nginx" in names
    heads, cells = ["server"], {name: [name] for name in names}
    for key in keys:
        heads.append(COLUMNS[key])
        for name in names:
            values = [lines[name][key] for lines in rounds if key in lines.get(name, {})]
            cells[name].append(shown(fold(key, values)) if values else "")
        if compares and key in ("rps", "cpu", "start"):
            heads.append("× nginx")
            for name in names:
                values = [lines[name][key] / lines["nginx"][key] for lines in rounds if name in lines and "nginx" in lines]
                cells[name].append(f"{statistics.median(values):.2f}" if values else "")
    rows = [heads, ["---"] + ["--:"] * (len(heads) - 1), *cells.values()]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def order(name):
    known = ["nginx", "limit", "unirs"]
    return known.index(name.split(",")[0].split()[0]), "threaded" in name


def machine(bench):
    options = bench.options

    def first_line(*command):
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=5)
            return (done.stdout.strip().splitlines() or ["?"])[0]
        return "not found"

    model = re.search(r"^model name\s*: (.*)$", pathlib.Path("/proc/cpuinfo").read_text(), re.M)
    nginx = bench.shapes.get("nginx")
    facts = {
        "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processors": f"{len(os.sched_getaffinity(0))} × {model[1] if model else platform.machine()}",
        "load before the run": pathlib.Path("/proc/loadavg").read_text().split()[0],
        "unirs": first_line(options.unirs, "--version"),
        "commit": first_line("git", "-C", REPOSITORY, "describe", "--always", "--dirty"),
        "nginx": first_line(nginx.command[0], "-v") if nginx else "not found",
        "wrk": re.sub(r" \[.*", "", first_line("wrk", "-v")),
        "rounds": f"{options.rounds} of {options.seconds} s; {CONNECTIONS} connections, 2 workers, threaded: 32 threads each",
    }
    return "\n".join(f"- {name}: {fact}" for name, fact in facts.items())


def say(text):
    print(text, file=sys.stderr, flush=True)


def measure(bench, row):
    """The rounds of a row; a server that fails is left out, and said."""
    rounds = []
    for number in range(bench.options.rounds):
        lines = {}
        # Every other round goes backwards, so that nobody always comes after the same neighbour.
        for name, work in row.work[:: -1 if number % 2 else 1]:
            if name not in bench.shapes:
                continue
            try:
                found = undisturbed(lambda: work(bench, name))
            except (Failure, OSError) as error:
                say(f"  {name}: {error}")
                bench.failures.append(f"{row.title}: {name}: {error}")
                continue
            lines |= found
            for line, figures in found.items():
                say(f"  round {number + 1}, {line}: " + ", ".join(f"{key} {shown(figures[key]) if key != 'shares' else figures[key]}" for key in COLUMNS if key in figures))
        rounds.append(lines)
    return rounds


def undisturbed(work):
    """The lines of a measurement during which the host has given next to nothing of the processors to others."""
    tries = []
    while len(tries) < TRIES:
        before = stolen_ticks()
        lines = work()
        stolen, total = (now - then for now, then in zip(stolen_ticks(), before))
        tries.append((stolen / max(total, 1), lines))
        if tries[-1][0] <= STOLEN:
            break
        say(f"  the host has taken {tries[-1][0]:.1%} of the processors: again")
    stolen, lines = min(tries, key=lambda one: one[0])
    return {name: figures | {"stolen": stolen * 100} for name, figures in lines.items()}


def compare(bench, wanted):
    bars = []
    print("# unirs beside nginx\n\n" + machine(bench), flush=True)
    for key in wanted:
        if key == "syscalls":
            continue
        row = ROWS[key]
        say(row.title)
        rounds = measure(bench, row)
        if any(rounds):
            print(f"\n## {row.title}\n\n{table(rounds)}", flush=True)
        bars += [bar.line(rounds) for bar in row.bars]
    if "syscalls" in wanted and shutil.which("strace"):
        print("\n## System calls for each request\n\n| work | requests | calls for each |\n|---|--:|---|", flush=True)
        for work, name, options in COUNTED:
            say(f"system calls: {work}")
            try:
                requests, calls = count_calls(bench, name, options)
                print(f"| {work} | {requests:,} | {calls} |", flush=True)
            except (Failure, OSError, subprocess.TimeoutExpired) as error:
                bench.failures.append(f"system calls: {work}: {error}")
    if bars:
        print("\n## Against the bars\n\n| what | median (of the rounds) | bar (reach) | |\n|---|--:|--:|---|\n" + "\n".join(bars))
    if bench.failures:
        print("\n## Not measured\n\n" + "\n".join(f"- {failure}" for failure in bench.failures))


def arguments():
    release = REPOSITORY / "target" / "release"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="of each row [3]")
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement, at most 15 [3]")
    parser.add_argument("--alone", type=int, default=10, help="seconds of hellos or sleeps alone before they are mixed [10]")
    parser.add_argument("--only", action="append", metavar="ROW", choices=[*ROWS, "syscalls"], help="may be given more than once: " + ", ".join([*ROWS, "syscalls"]))
    parser.add_argument("--unirs", type=pathlib.Path, default=release / "unirs", help="the server [target/release/unirs]")
    parser.add_argument("--library", type=pathlib.Path, help="the application [libbench_app.so beside the server]")
    parser.add_argument("--limit", type=pathlib.Path, help="the loop that does not parse [limit beside the server]")
    options = parser.parse_args()
    options.unirs = options.unirs.resolve()
    options.library = (options.library or options.unirs.parent / "libbench_app.so").resolve()
    options.limit = (options.limit or options.unirs.parent / "limit").resolve()
    if options.rounds < 1 or options.alone < 1 or not 1 <= options.seconds <= 15:
        parser.error("rounds and seconds are at least 1, and seconds at most 15: idle connections are kept for 75")
    if not options.unirs.exists():
        parser.error(f"no {options.unirs}: cargo build --release --workspace")
    if not shutil.which("wrk"):
        parser.error("no wrk: apt-get install wrk")
    return options


def interrupted(*_):
    """^C and TERM: everything is stopped on the way out, and not disturbed in that."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def main():
    options = arguments()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupted)
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    folder = tempfile.mkdtemp(prefix="unirs-compare-")
    os.chmod(folder, 0o755)
    begun = time.monotonic()
    try:
        bench = Bench(options, folder)
        for name, file in (("the application", options.library), ("limit", options.limit)):
            if not file.exists():
                say(f"no {file}: rows that need {name} are left out")
        compare(bench, options.only or [*ROWS, "syscalls"])
        say(f"{time.monotonic() - begun:.0f} s")
    except KeyboardInterrupt:
        sys.exit(130)
    finally:
        for process in STARTED:
            kill(process)
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
