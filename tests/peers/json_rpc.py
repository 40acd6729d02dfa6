"""Calls commands over Kamailio's JSON-RPC: datagram socket, then FIFO. DIRECTORY COMMAND [ARGUMENT...]

Prints one line for each: the result, or `error CODE MESSAGE`.
"""

import json
import os
import socket
import sys

directory, command, *arguments = sys.argv[1:]
request = {"jsonrpc": "2.0", "method": command, "params": arguments, "id": os.getpid()}


def show(text):
    answer = json.loads(text)
    assert answer["jsonrpc"] == "2.0" and answer["id"] == os.getpid(), answer
    if "error" in answer:
        print("error", answer["error"]["code"], answer["error"]["message"])
    else:
        print(json.dumps(answer["result"]))


def over_datagrams():
    own = os.path.join(directory, f"client_{os.getpid()}.sock")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.bind(own)
        try:
            client.settimeout(10)
            client.sendto(json.dumps(request).encode(), os.path.join(directory, "kamailio_rpc.sock"))
            show(client.recv(65536))
        finally:
            os.unlink(own)


def over_fifo():
    name = f"client_{os.getpid()}.fifo"
    own = os.path.join(directory, name)
    os.mkfifo(own)
    try:
        with open(os.path.join(directory, "kamailio_rpc.fifo"), "w") as server:
            server.write(json.dumps(request | {"reply_name": name}, indent=2))
        with open(own) as reply:
            show(reply.read())
    finally:
        os.unlink(own)


over_datagrams()
over_fifo()
