#!/usr/bin/env python3
"""A soak: mixed work on many connections for a long time, with a reload every few seconds.

    soak.py [--unirs PATH] [--app LIBRARY] [--minutes 20] [--connections 200] [--class threaded]

The library is examples/bench. Every answer is checked; an error is a request that was not answered, or wrongly. A
connection that the server has announced to close is opened anew. Prints, each half minute, requests, errors, and memory
(PSS) and descriptors of master and workers; at the end, one line of figures. Exit code 1 when anything failed or grew.
"""
import argparse, asyncio, os, random, re, signal, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
RELEASE = os.path.join(HERE, "..", "target", "release")
BODY = b"x" * 65536
# A connection that may have been idle for longer is not used again: half of the server's `keepalive`, in seconds.
KEPT = 1


class Soak:
    def __init__(self, options):
        self.options, self.requests, self.errors, self.reloads = options, 0, [], 0
        self.over = time.monotonic() + options.minutes * 60

    def start(self):
        self.folder = tempfile.mkdtemp(prefix="soak-")
        self.log = os.path.join(self.folder, "error.log")
        kind = ["-k", "threaded", "--threads", "8"] if self.options.kind == "threaded" else ["-k", "sync"]
        command = [self.options.unirs, "-w", "2", *kind, "-b", "127.0.0.1:0", "--log-file", self.log,
                   "--access-logfile", os.path.join(self.folder, "access.log"), self.options.app]
        self.master = subprocess.Popen(command)
        for _ in range(100):
            time.sleep(0.1)
            found = os.path.exists(self.log) and re.search(r"Listening at: http://127\.0\.0\.1:(\d+)", open(self.log).read())
            if found:
                self.port = int(found.group(1))
                return
        sys.exit("soak: the server did not come up")

    async def talk(self, number):
        """One connection's life: requests with pauses shorter than keepalive."""
        chance = random.Random(number)
        reader = writer = None
        asked = 0
        while time.monotonic() < self.over:
            try:
                # On a busy machine this program may have been late: to hear the answer, or to ask again. The server counts
                # from when it has answered, which was after the question.
                if writer and time.monotonic() - asked > KEPT:
                    writer.close()
                    writer = None
                if writer is None:
                    reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
                asked = time.monotonic()
                closes = await asyncio.wait_for(self.exchange(chance, reader, writer), 30)
                self.requests += 1
            except Exception as error:  # whatever it is, it is a request that failed
                self.errors.append(f"{type(error).__name__}: {error}")
                closes = True
            if closes and writer:
                writer.close()
                writer = None
            await asyncio.sleep(chance.uniform(0, 0.4))
        if writer:
            writer.close()

    async def exchange(self, chance, reader, writer):
        kind = chance.choices(["/", "/sleep", "/echo", "/large", "/burn"], [70, 15, 8, 5, 2])[0]
        wants_close = chance.random() < 0.1
        body = BODY if kind == "/echo" else b""
        head = f"{'POST' if body else 'GET'} {kind} HTTP/1.1\r\nHost: soak\r\nContent-Length: {len(body)}\r\n"
        writer.write((head + ("Connection: close\r\n" if wants_close else "") + "\r\n").encode() + body)
        await writer.drain()
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        if not head.startswith("http/1.1 200 "):
            raise ValueError(head.split("\r\n")[0])
        answer = await reader.readexactly(int(re.search(r"content-length: (\d+)", head).group(1)))
        right = {"/": b"Hello, World!", "/echo": b"65536"}.get(kind, answer.strip())
        if answer.strip() != right or kind == "/large" and len(answer) != 1 << 20:
            raise ValueError(f"a wrong answer to {kind}")
        return "connection: close" in head

    async def reload(self):
        while time.monotonic() < self.over - 10:
            await asyncio.sleep(10)
            self.master.send_signal(signal.SIGHUP)
            self.reloads += 1

    async def watch(self):
        self.samples = []
        while time.monotonic() < self.over - 3:
            await asyncio.sleep(5 if not self.samples else 30)
            sample = self.measure()
            self.samples.append(sample)
            print(f"{self.requests:9} requests {len(self.errors):3} errors {self.reloads:4} reloads; master "
                  f"{sample[0]:6} KiB {sample[1]:3} fds; {sample[4]} workers {sample[2]:6} KiB {sample[3]:3} fds", flush=True)

    def measure(self):
        def pss(pid):
            return int(re.search(r"^Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read(), re.M).group(1))

        def fds(pid):
            return len(os.listdir(f"/proc/{pid}/fd"))

        master = self.master.pid
        children = open(f"/proc/{master}/task/{master}/children").read().split()
        memory = descriptors = 0
        for child in children:
            try:
                memory += pss(child)
                descriptors += fds(child)
            except (OSError, AttributeError):
                pass  # it has left
        return pss(master), fds(master), memory, descriptors, len(children)

    async def run(self):
        talks = [self.talk(number) for number in range(self.options.connections)]
        await asyncio.gather(self.reload(), self.watch(), *talks)

    def finish(self):
        self.master.send_signal(signal.SIGTERM)
        code = self.master.wait(timeout=60)
        lines = sum(1 for _ in open(os.path.join(self.folder, "access.log"), "rb"))
        first, last = self.samples[len(self.samples) // 4], self.samples[-1]
        grown = last[0] > first[0] * 1.5 + 1024 or last[1] > first[1] + 2
        print(f"{self.requests} requests on {self.options.connections} connections in {self.options.minutes:g} minutes, "
              f"{len(self.errors)} errors, {self.reloads} reloads, {lines} access lines, exit code {code}; "
              f"master {first[0]} -> {last[0]} KiB, {first[1]} -> {last[1]} descriptors")
        for error in sorted(set(self.errors))[:10]:
            print(f"  {self.errors.count(error)} x {error}")
        return 1 if self.errors or grown or code != 0 or lines != self.requests else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--unirs", default=os.path.join(RELEASE, "unirs"))
    parser.add_argument("--app", default=os.path.join(RELEASE, "libbench_app.so"))
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--connections", type=int, default=200)
    parser.add_argument("--class", dest="kind", choices=["sync", "threaded"], default="threaded")
    soak = Soak(parser.parse_args())
    soak.start()
    try:
        asyncio.run(soak.run())
        code = soak.finish()
    finally:
        soak.master.poll() is None and soak.master.kill()
    sys.exit(code)


main()
