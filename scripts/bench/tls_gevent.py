# SPDX-License-Identifier: MIT
# Beside the tls bench: the same server on gevent's StreamServer.
# Alone: python3 scripts/bench/tls_gevent.py CERT KEY
import socket
import sys

from gevent import ssl
from gevent.server import StreamServer


def echo(conn, _address):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    while True:
        data = conn.recv(16384)
        if not data:
            break
        conn.sendall(data)


context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[1], sys.argv[2])
server = StreamServer(("127.0.0.1", 0), echo, backlog=4096, ssl_context=context)
server.start()
print("listening on tls://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
