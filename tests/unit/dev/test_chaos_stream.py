"""The stream of `make chaos` against an LMTP server and a receiver that do as they are told."""

import json
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dev.chaos.stream import Stream
from dev.demo.users import LISTENING, DemoUser

SLOW, REFUSED, QUICK = LISTENING[:3]


class Lmtp(socketserver.ThreadingTCPServer):
    """Takes mails; SLOW's stay unanswered until `released`, REFUSED's recipient is unknown."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Session)
        self.released = threading.Event()


class Session(socketserver.StreamRequestHandler):
    server: Lmtp

    def handle(self) -> None:
        self.say("220 here")
        slow = False
        while line := self.rfile.readline().decode().strip():
            match line.split()[0].upper():
                case "RCPT":
                    slow = SLOW.login in line
                    self.say("550 unknown" if f"<{REFUSED.login}>" in line else "250 ok")
                case "DATA":
                    self.say("354 go on")
                    while self.rfile.readline() != b".\r\n":
                        pass
                    if slow:
                        self.server.released.wait()
                    self.say("250 taken")
                case "QUIT":
                    self.say("221 bye")
                    return
                case _:
                    self.say("250 ok")

    def say(self, line: str) -> None:
        self.wfile.write(line.encode() + b"\r\n")


class Receiver(BaseHTTPRequestHandler):
    """Was notified once of each mail with an even number."""

    def do_GET(self) -> None:
        body = json.dumps(
            [{"id": str(number), "body": {"data": {"subject": f"chaos {number}"}}} for number in range(2, 1000, 2)]
        ).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def lmtp() -> Iterator[Lmtp]:
    with Lmtp() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def receiver() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def of(stream: Stream, user: DemoUser) -> int:
    return sum(one.user is user and one.waited is not None for one in stream.mails())


def test_a_delivery_that_hangs_holds_no_other_up(lmtp: Lmtp, receiver: str) -> None:
    host, port = lmtp.server_address[:2]
    with Stream((str(host), port), receiver, (SLOW, REFUSED, QUICK), rate=100) as stream:
        stream.fault = "hanging"
        while of(stream, QUICK) < 5:
            assert of(stream, SLOW) == 0
        lmtp.released.set()
        stream.stop()
        stream.collect()
        mails = stream.mails()
    assert {one.user.name for one in mails} == {SLOW.name, REFUSED.name, QUICK.name}
    assert all(one.waited is not None for one in mails)
    assert all((one.refusal is not None) is (one.user is REFUSED) for one in mails)
    assert len({one.subject for one in mails}) == len(mails)
    assert all(bool(one.ids) is (int(one.subject.split()[1]) % 2 == 0) for one in mails)
    assert mails[-1].fault == "hanging"
    assert stream.mails("hanging") == [one for one in mails if one.fault == "hanging"]
