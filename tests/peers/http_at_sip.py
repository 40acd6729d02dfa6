"""Asks over HTTP on a listener for SIP, all on one connection. HOST:PORT

Prints the status of each answer.
"""

import http.client
import json
import sys

connection = http.client.HTTPConnection(sys.argv[1], timeout=20)
sockets = set()


def ask(method, path, body=None):
    connection.request(method, path, body)
    sockets.add(connection.sock)
    response = connection.getresponse()
    return response.status, response.read()


def rpc(document):
    return ask("POST", "/RPC", json.dumps(document))


def call(method, **more):
    return {"jsonrpc": "2.0", "method": method, **more}


status, text = rpc(call("no.such", id=1))
answer = json.loads(text)
assert status == 200 and answer["id"] == 1, answer
print("404 method not found:", answer["error"]["code"])
print(ask("POST", "/RPC")[0], "no document")
print(rpc(call("core.uptime"))[0], "notification")
status, text = rpc([call("core.uptime", id=1), call("core.version", id=2)])
print(status, "batch:", len(json.loads(text)))
print(ask("GET", "/silence")[0], "silence")
print(ask("GET", "/hidden")[0], "hidden")
status, text = ask("HEAD", "/self")
print(status, "HEAD:", len(text))
print(len(sockets), "connection")
