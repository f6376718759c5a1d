# SPDX-License-Identifier: MIT
# For information beside the http bench: hello world on gevent's WSGIServer.
# Alone: python3 scripts/bench/http_gevent.py
from gevent.pywsgi import WSGIServer


def hello(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain; charset=utf-8"), ("Content-Length", "12")])
    return [b"hello world\n"]


server = WSGIServer(("127.0.0.1", 0), hello, log=None)
server.start()
print("listening on http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
