#!/usr/bin/env python3
"""Writes the seeds: each raw request of tests/requests, unescaped, behind conditions; the settings files; formats."""

import hashlib
import re
from pathlib import Path

FUZZ = Path(__file__).resolve().parent
SIMPLE = {"r": b"\r", "n": b"\n", "t": b"\t", "0": b"\0", "\\": b"\\"}
ESCAPE = re.compile(rb"\\(?:x([0-9a-fA-F]{2})|\{(.*?)\*(\d+)\}|(.))", re.S)
LARGEST = 8192


def unescape(text: bytes) -> bytes:
    def meant(found: re.Match) -> bytes:
        if found[1]:
            return bytes.fromhex(found[1].decode())
        if found[2] is not None:
            return unescape(found[2]) * int(found[3])
        return SIMPLE[found[4].decode()]

    return ESCAPE.sub(meant, text)


def write(target: str, data: bytes) -> None:
    if len(data) <= LARGEST:
        folder = FUZZ / "corpus" / target
        folder.mkdir(parents=True, exist_ok=True)
        (folder / hashlib.sha1(data).hexdigest()).write_bytes(data)


def requests() -> list[bytes]:
    files = sorted((FUZZ.parent / "tests/requests").glob("*/*.http"))
    return [unescape(file.read_bytes().replace(b"\n", b"")) for file in files]


def conditions(number: int, options: int) -> bytes:
    return options.to_bytes(2, "little") + (number * 7919 % 65536).to_bytes(2, "little")


for number, request in enumerate(requests()):
    write("head", conditions(number, number * 37 % 512) + request)
    write("head", conditions(number, 0) + request)
    write("connection", conditions(number, 0) + request)
    write("connection", conditions(number + 1, number % 128) + request + request)
    head, end, body = request.partition(b"\r\n\r\n")
    if body:
        write("body", conditions(number, number % 2) + body)
        write("body", conditions(number, 2 | len(body) % 64 << 2) + body)

ROOT = FUZZ.parent
SAMPLES = [ROOT / "gunicorn.toml", *(ROOT / "config").glob("*.toml"), *(ROOT / "examples").rglob("gunicorn.toml")]
for sample in SAMPLES:
    text = sample.read_text()
    write("settings_file", text.encode())
    lines = [line[1:] for line in text.splitlines() if re.match(r"#[a-z_]+ = ", line)]
    write("settings_file", "\n".join(lines).encode())
    for line in lines:
        write("settings_file", line.encode())
write("settings_file", b'app = "shop"\n[apps.shop]\nbuiltin = "static"\nroot = "."\nnested = { a = [1, 2.5, "x", true] }\n')

ATOMS = [f"%({letter})s" for letter in "hlurmtUqHsBbfaTMDLp"] + ["%({host}i)s", "%({server}o)s", "%({remote_addr}e)s"]
VALUES = [b"127.0.0.1", b"GET", b"/a%20b?c", b"/a b", b"c", b"HTTP/1.1", b"\x01\x02", b"Basic dTpw", b"\r\n\x1b[31m\"\\"]
for atom in [*ATOMS, " ".join(ATOMS), "%%", "%(h)", "%(status)s", "%({host}", "100%"]:
    write("access_format", b"\xfe".join([atom.encode(), *VALUES]))
