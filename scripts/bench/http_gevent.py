# SPDX-License-Identifier: MIT
# Beside the http bench: hello world on gevent's WSGIServer.
# Alone: python3 scripts/bench/http_gevent.py
import socket

from gevent.pywsgi import WSGIServer


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "12")])
    return [b"hello world\n"]


server = WSGIServer(("127.0.0.1", 0), hello, log=None, backlog=4096)
server.start()
# It sends head and body apart, and without this the body waits 40 ms for the client's ACK. Connections inherit it.
server.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print("listening on http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
