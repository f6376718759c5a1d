# SPDX-License-Identifier: MIT
# Beside the http bench: gevent's StreamServer. Like the raw loop it only finds the ends of heads.
# Alone: python3 scripts/bench/http_streamserver.py
import socket

from gevent.server import StreamServer

ANSWER = (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n"
          b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 12\r\n%s\r\nhello world\n")
KEEP, KEEP_OLD, CLOSE = (ANSWER % field for field in
                         (b"", b"Connection: keep-alive\r\n", b"Connection: close\r\n"))


def serve(conn, _address):
    try:
        answer_all(conn)
    except ConnectionError:
        pass


def answer_all(conn):
    conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    rest = b""
    while True:
        data = conn.recv(16384)
        if not data:
            return
        *heads, rest = (rest + data).split(b"\r\n\r\n")
        answer = KEEP
        if heads and b" HTTP/1.0\r" in heads[0]:
            answer = KEEP_OLD if b"\nconnection: keep-alive" in heads[0].lower() else CLOSE
        conn.sendall(answer * len(heads))
        if answer is CLOSE:
            return


server = StreamServer(("127.0.0.1", 0), serve, backlog=4096)
server.start()
print("listening on http://127.0.0.1:%d" % server.server_port, flush=True)
server.serve_forever()
