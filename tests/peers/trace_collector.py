"""Takes spans as OpenTelemetry collectors do (OTLP over HTTP, JSON).

Prints the port it listens at, then a line for each span: name, status code, trace id and what it lasted in nanoseconds.
"""

import http.server
import json


def value(attribute):
    return next(iter(attribute["value"].values()))


class Collector(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        assert self.path == "/v1/traces" and self.headers["Content-Type"] == "application/json"
        document = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")
        for resource in document["resourceSpans"]:
            service = {a["key"]: value(a) for a in resource["resource"]["attributes"]}["service.name"]
            for scope in resource["scopeSpans"]:
                for span in scope["spans"]:
                    attributes = {a["key"]: value(a) for a in span["attributes"]}
                    assert len(bytes.fromhex(span["traceId"])) == 16 and len(bytes.fromhex(span["spanId"])) == 8
                    lasted = int(span["endTimeUnixNano"]) - int(span["startTimeUnixNano"])
                    assert 0 <= lasted < 60e9 and float(attributes["sip.script_seconds"]) > 0, span
                    print(service, span["name"], attributes["sip.status_code"], span["traceId"], flush=True)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Collector)
print("port", server.server_port, flush=True)
server.serve_forever()
