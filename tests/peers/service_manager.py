"""Does what systemd does with a service of Type=notify that has a file descriptor store. COMMAND...

Prints `manager: ready` when the server says so. A line `stop` ends it, and `stopped N` says how many sockets are kept meanwhile;
`start` starts it again with them.
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading

path = os.path.join(tempfile.mkdtemp(), "notify")
manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
manager.bind(path)
kept = {}


def listen():
    while True:
        text, files, _, _ = socket.recv_fds(manager, 4096, 16)
        fields = dict(line.split("=", 1) for line in text.decode().splitlines())
        if fields.get("FDSTORE") == "1":
            # The same socket, given again, is kept once.
            kept.setdefault(fields["FDNAME"], files[0])
        if fields.get("FDSTOREREMOVE") == "1":
            os.close(kept.pop(fields["FDNAME"]))
        if fields.get("READY") == "1":
            print("manager: ready", flush=True)


def start():
    names, files = list(kept), list(kept.values())

    def place():
        high = [os.dup2(file, 200 + n) for n, file in enumerate(files)]
        for n, file in enumerate(high):
            os.dup2(file, 3 + n)
            os.close(file)

    shell = 'LISTEN_PID=$$; export LISTEN_PID; exec "$@"'
    environment = dict(os.environ, NOTIFY_SOCKET=path, LISTEN_FDS=str(len(files)), LISTEN_FDNAMES=":".join(names))
    return subprocess.Popen(
        ["sh", "-c", shell, "sh", *sys.argv[1:]],
        env=environment,
        preexec_fn=place,
        pass_fds=range(3, 3 + len(files)),
    )


def end(*_):
    server.kill()
    os._exit(0)


threading.Thread(target=listen, daemon=True).start()
server = start()
signal.signal(signal.SIGTERM, end)
for line in sys.stdin:
    if line.strip() == "stop":
        server.send_signal(signal.SIGTERM)
        server.wait()
        print("stopped", len(kept), flush=True)
    else:
        server = start()
end()
