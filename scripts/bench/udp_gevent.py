# SPDX-License-Identifier: MIT
# Beside the udp bench: a loop over gevent's socket, which is faster than its DatagramServer (a greenlet a datagram).
# Alone: python3 scripts/bench/udp_gevent.py
import socket as plain

from gevent import socket

sock = socket.socket(plain.AF_INET, plain.SOCK_DGRAM)
sock.bind(("127.0.0.1", 0))
print("listening on udp://127.0.0.1:%d" % sock.getsockname()[1], flush=True)
while True:
    data, peer = sock.recvfrom(2048)
    sock.sendto(data, peer)
