"""Takes webhooks. SECRET

Prints the port it listens at, then a line for each request: the event, whether its signature is right, and the status it
was answered with. The first request is answered 503, so that it comes again.
"""

import hashlib
import hmac
import http.server
import json
import sys

SECRET = sys.argv[1].encode()
seen = 0


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global seen
        seen += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        signature = dict(part.split("=", 1) for part in self.headers["X-SER-Signature"].split(","))
        expected = hmac.new(SECRET, signature["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
        is_right = hmac.compare_digest(expected, signature["v1"])
        event = json.loads(body)
        is_named = self.headers["X-SER-Event"] == event["event"]
        status = 503 if seen == 1 else 204
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(event["event"], "signed" if is_right and is_named else "forged", status, flush=True)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print("port", server.server_port, flush=True)
server.serve_forever()
