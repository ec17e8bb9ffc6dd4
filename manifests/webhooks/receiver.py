"""Hears of a new champion from the MLflow server, and says so: a template for what should happen then.

python receiver.py [PORT], with the webhook's secret in WEBHOOK_SECRET. Needs Python alone.
"""

import base64
import hashlib
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MAX_AGE_S = 300  # an old message may be one that someone recorded and sends again
MAX_BYTES = 100_000


class Receiver(BaseHTTPRequestHandler):
    """Takes the server's messages, and nobody else's."""

    def do_POST(self) -> None:
        """Answer 204, or 401 to a stranger."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length", 0)), MAX_BYTES))
        genuine = is_genuine(self.headers, body)
        self.send_response(204 if genuine else 401)
        self.end_headers()
        if genuine:
            moved = json.loads(body)["data"]
            if moved["alias"] == "champion":
                on_champion(moved["name"], moved["version"])

    def log_message(self, *args: object) -> None:
        """No line for every request."""


def is_genuine(headers, body: bytes) -> bool:
    """Whether the server that knows the secret signed this, and did so just now."""
    delivery, sent = headers.get("X-MLflow-Delivery-Id", ""), headers.get("X-MLflow-Timestamp", "")
    if not sent.isdecimal() or abs(time.time() - int(sent)) > MAX_AGE_S:
        return False
    signed = f"{delivery}.{sent}.".encode() + body
    digest = hmac.new(os.environ["WEBHOOK_SECRET"].encode(), signed, hashlib.sha256).digest()
    expected = b"v1," + base64.b64encode(digest)
    return hmac.compare_digest(expected, headers.get("X-MLflow-Signature", "").encode())


def on_champion(name: str, version: str) -> None:
    """Here a server would load ``models:/<name>/<version>``. A message may come twice, or not at all."""
    print(f"{name}: version {version} is the champion", flush=True)


if __name__ == "__main__":
    ThreadingHTTPServer(("", int(sys.argv[1]) if sys.argv[1:] else 8080), Receiver).serve_forever()
