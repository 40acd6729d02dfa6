"""A thousand clients at once, half of them over TCP and half over a Unix socket. PORT SOCKET EXPECTED

They connect and say nothing. Prints `crowd` when all are there, waits for a line, and prints how many were turned away
with an explanation.
"""

import resource
import select
import socket
import sys
import time

port, path, expected = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))


def connect(number):
    if number % 2:
        client = socket.socket(socket.AF_UNIX)
        client.connect(path)
    else:
        client = socket.create_connection(("127.0.0.1", port))
    return client


clients = [connect(number) for number in range(1000)]
print("crowd", flush=True)
sys.stdin.readline()
turned_away = 0
waiting = {client.fileno(): client for client in clients}
poll = select.poll()
for client in clients:
    client.settimeout(0)
    poll.register(client, select.POLLIN)
deadline = time.monotonic() + 15
# A busy machine takes its time; whoever is served hears nothing until it is given up.
while turned_away < expected and time.monotonic() < deadline:
    for number, _ in poll.poll(1000):
        poll.unregister(number)
        try:
            turned_away += b"too many clients" in waiting[number].recv(1000)
        except (BlockingIOError, ConnectionResetError):
            pass
print("turned away", turned_away, flush=True)
