# SPDX-License-Identifier: MIT
# Beside the echo bench: the same server on gevent.
# Alone: python3 scripts/bench/echo_gevent.py
import socket

from gevent.server import StreamServer


def echo(conn, _address):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        data = conn.recv(16384)
        if not data:
            break
        conn.sendall(data)


server = StreamServer(("127.0.0.1", 0), echo, backlog=4096)
server.start()
print("listening on tcp://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
