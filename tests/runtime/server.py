"""A small engine for the runtime's tests: answers on its socket, and misbehaves as its arguments say.

    python server.py SOCKET [option ...]

Options: `--not-ready` (health never answers 200), `--no-socket`, `--ignore-term`, `--deaf-after-term`,
`--probe STATUS`, `--say TEXT`, `--say-raw HEX`, `--exit CODE`, `--die SIGNAL`, `--flood BYTES`, `--endless BYTES`,
`--eat BYTES`, `--brood FILE` (leaves a child, a grandchild in a session of its own, and their pids in FILE),
`--environ FILE` (writes its environment as JSON).
"""

import json
import os
import signal
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler

options = dict(zip(sys.argv[2:], [*sys.argv[3:], ""], strict=False))


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.answer(503 if "--not-ready" in options else 200)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        print("probe", self.path, body.decode(), flush=True)
        self.answer(int(options.get("--probe", "200")))

    def answer(self, status: int) -> None:
        body = json.dumps({"status": status}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def brood(path: str) -> None:
    """One child in our group; one grandchild that left its session and its parent."""
    with open(f"{path}.part", "a") as file:
        child = os.fork()
        if child == 0:
            linger()
        print(child, file=file, flush=True)
        if os.fork() == 0:
            os.setsid()
            grandchild = os.fork()
            if grandchild == 0:
                linger()
            print(grandchild, file=file, flush=True)
            os._exit(0)
        os.wait()
    os.rename(f"{path}.part", path)


def linger() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.alarm(100)
    while True:
        signal.pause()


def misbehave() -> None:
    if "--ignore-term" in options:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "--deaf-after-term" in options:
        signal.signal(signal.SIGTERM, lambda *_: os.path.exists(sys.argv[1]) and os.unlink(sys.argv[1]))
    if "--environ" in options:
        with open(options["--environ"], "w") as file:
            json.dump(dict(os.environ), file)
    if "--brood" in options:
        brood(options["--brood"])
    if "--eat" in options:
        print(len(bytearray(b"x" * int(options["--eat"]))), flush=True)
    print_much()


def print_much() -> None:
    if "--say" in options:
        print(options["--say"], flush=True)
    os.write(1, bytes.fromhex(options.get("--say-raw", "")))
    for _ in range(int(options.get("--flood", "0")) >> 16):
        os.write(1, b"a line of the flood: 0123456789\n" * 2048)
    for _ in range(int(options.get("--endless", "0")) >> 16):
        os.write(1, b"x" * 65536)


def leave() -> None:
    if "--exit" in options:
        sys.exit(int(options["--exit"]))
    if "--die" in options:
        os.kill(os.getpid(), int(options["--die"]))
        time.sleep(60)


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True

    def get_request(self):  # type: ignore[no-untyped-def]
        connection, _ = super().get_request()
        return connection, ("local", 0)


misbehave()
leave()
if "--no-socket" in options:
    linger()
with Server(sys.argv[1], Handler) as server:
    server.serve_forever()
