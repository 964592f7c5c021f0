"""A webhook receiver for the demo: remembers each notification with its time of arrival and checks its signature.

Runs in a pod with nothing but Python. POST / takes a notification; GET /received gives all of them as JSON.
"""

import base64
import hashlib
import hmac
import json
import os
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
received: list[dict[str, object]] = []
lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        arrived = time.time()
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + body
        signature = base64.b64encode(hmac.new(SECRET, signed, hashlib.sha256).digest()).decode()
        entry = {
            "arrived": arrived,
            "id": self.headers["webhook-id"],
            "from": self.client_address[0],
            "signed": hmac.compare_digest(f"v1,{signature}", self.headers["webhook-signature"] or ""),
            "body": json.loads(body),
        }
        with lock:
            received.append(entry)
        self.answer(b"")

    def do_GET(self) -> None:
        with lock:
            self.answer(json.dumps(received).encode())

    def answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", 8080), Handler).serve_forever()
