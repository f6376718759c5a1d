# SPDX-License-Identifier: MIT
# A DNS server for specs that behaves, or misbehaves, as the name asked for says. Listens on a free port of
# 127.0.0.1 (UDP and TCP) and on a control port; prints both. A line on the control port is a command:
# "log" returns one line for each question since the last "log": UDP/TCP, peer's port, id, EDNS, type, name;
# "quit" ends. The first label of a name in "test" says what happens; all in "nx.test" and so on is nx and so on:
#   ok  A 192.0.2.1 and AAAA 2001:db8::1      v4, v6   only one of them, NODATA for the other
#   lost6, lost4  the other only: AAAA (A) is never answered          nx, nodata, servfail, refused, notimp, formerr
#   silent  no answer       late<ms>  that late      ttl<s>  with that TTL, address from a counter
#   trunc   cut off by UDP, 12 addresses by TCP      chain<n>  n aliases, then ok       loop  two aliases of each other
#   open    an alias without the address            forged, zero, giant, garbage  that packet first, then the right one
#   flood<n>   n other ids first           
#   source  from another port first                 noedns  FORMERR with EDNS           mute  silent with EDNS
#   first<n>  n lost questions, then an answer      odd, empty   records that make no sense
#   types   one record of each type                 big   20 TXT strings
import contextlib
import os
import random
import socket
import struct
import sys
import threading
import time

TYPES = {"A": 1, "NS": 2, "CNAME": 5, "SOA": 6, "PTR": 12, "MX": 15, "TXT": 16, "AAAA": 28, "SRV": 33,
         "CAA": 257, "HTTPS": 65}
ZONES = ("nx", "nodata", "servfail", "refused")
A, CNAME, SOA, PTR, TXT, AAAA = 1, 5, 6, 12, 16, 28


def name(text):
    return b"".join(bytes([len(label)]) + label.encode() for label in text.split(".") if label) + b"\0"


def record(owner, kind, data, ttl=60):
    return name(owner) + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def soa(ttl=60, minimum=30):
    return record("test", SOA, name("ns.test") + name("root.test") + struct.pack(">5I", 1, 2, 3, 4, minimum), ttl)


class Question:
    def __init__(self, packet):
        self.id, self.counts = struct.unpack(">H", packet[:2])[0], struct.unpack(">4H", packet[4:12])
        at, labels = 12, []
        while packet[at]:
            labels.append(packet[at + 1:at + 1 + packet[at]].decode("latin1"))
            at += packet[at] + 1
        self.name = ".".join(labels)
        self.type = struct.unpack(">H", packet[at + 1:at + 3])[0]
        self.wire = packet[12:at + 5]
        self.edns = self.counts[3] > 0

    def reply(self, answers=(), authority=(), rcode=0, flags=0x8180, wire=None, ident=None):
        head = struct.pack(">6H", self.id if ident is None else ident, flags | rcode, 1, len(answers), len(authority), 0)
        return head + (self.wire if wire is None else wire) + b"".join(answers) + b"".join(authority)


class Server:
    def __init__(self, address="127.0.0.1", port=0):
        # TCP first: a port that is free for UDP is often still taken by a TCP connection that has ended.
        self.tcp = socket.create_server((address, port))
        self.address = self.tcp.getsockname()
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(self.address)
        self.udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.log, self.seen, self.counter = [], {}, 0
        self.lock = threading.Lock()

    def addresses(self, q, ttl=60):
        if q.type == A:
            return [record(q.name, A, bytes([192, 0, 2, 1]), ttl)]
        if q.type == AAAA:
            return [record(q.name, AAAA, bytes.fromhex("20010db8" + 23 * "0" + "1"), ttl)]
        return []

    def types(self, q):
        data = {
            "A": bytes([192, 0, 2, 1]), "AAAA": bytes(15) + b"\1", "NS": name("ns.test"), "PTR": name("host.test"),
            "MX": struct.pack(">H", 10) + name("mail.test"), "TXT": b"\5hello\6 world", "CAA": b"\0\5issueca.test",
            "SRV": struct.pack(">3H", 1, 2, 3) + name("srv.test"), "HTTPS": b"\0\1\0",
            "SOA": name("ns.test") + name("root.test") + struct.pack(">5I", 1, 2, 3, 4, 5), "CNAME": name("ok.test"),
        }
        return [record(q.name, TYPES[t], d) for t, d in data.items() if TYPES[t] == q.type]

    # The answer to a question, or a list of packets; None = none.
    def answer(self, q, tcp):
        if "arpa" in q.name:
            return q.reply([record(q.name, PTR, name("one.test")), record(q.name, PTR, name("two.test"))])
        word = q.name.lower().split(".")[0]
        kind, number = word.rstrip("0123456789"), word.lstrip("abcdefghijklmnopqrstuvwxyz")
        number = int(number) if number.isdigit() else 0
        parent = q.name.lower().split(".")[-2:][0]
        method = getattr(self, "do_" + (parent if parent in ZONES else kind), None)
        if word in ("lost4", "lost6", "v4", "v6") and parent not in ZONES:
            kind, number, method = word[:-1], int(word[-1]), getattr(self, "do_" + word[:-1])
        if method is None or not q.name.lower().endswith("test"):
            return q.reply(authority=[soa()], rcode=3)
        return method(q, number, tcp)

    def do_ok(self, q, number, tcp):
        answers = self.addresses(q)
        return q.reply(answers, () if answers else [soa()])

    def do_v(self, q, number, tcp):
        wanted = A if number == 4 else AAAA
        return q.reply(self.addresses(q)) if q.type == wanted else q.reply(authority=[soa()])

    def do_lost(self, q, number, tcp):
        return None if q.type == (A if number == 4 else AAAA) else q.reply(self.addresses(q))

    def do_nx(self, q, number, tcp):
        return q.reply(authority=[soa()], rcode=3)

    def do_nodata(self, q, number, tcp):
        return q.reply(authority=[soa(minimum=number or 30)])

    def do_servfail(self, q, number, tcp):
        return q.reply(rcode=2)

    def do_refused(self, q, number, tcp):
        return q.reply(rcode=5)

    def do_notimp(self, q, number, tcp):
        return q.reply(rcode=4)

    def do_formerr(self, q, number, tcp):
        return q.reply(rcode=1)

    def do_silent(self, q, number, tcp):
        return None

    def do_late(self, q, number, tcp):
        time.sleep(number / 1000)
        return q.reply(self.addresses(q))

    def do_ttl(self, q, number, tcp):
        self.counter += 1
        return q.reply([record(q.name, A, bytes([10, 0, self.counter >> 8, self.counter & 255]), number)])

    def do_trunc(self, q, number, tcp):
        if not tcp:
            return q.reply(flags=0x8380)
        return q.reply([record(q.name, A, bytes([10, 1, 0, i])) for i in range(12)])

    def do_chain(self, q, number, tcp):
        names = [q.name] + ["link%d.test" % i for i in range(number)]
        links = [record(names[i], CNAME, name(names[i + 1])) for i in range(number)]
        q.name = names[-1]
        return q.reply(links + self.addresses(q))

    def do_loop(self, q, number, tcp):
        return q.reply([record(q.name, CNAME, name("other.test")), record("other.test", CNAME, name(q.name))])

    def do_open(self, q, number, tcp):
        target = "open%d.test" % (number - 1) if number > 0 else "ok.test"
        return q.reply([record(q.name, CNAME, name(target))])

    def do_forged(self, q, number, tcp):
        bad = [record(q.name, A, bytes([6, 6, 6, 6]))]
        other = name("other.test") + q.wire[-4:]
        kinds = [q.reply(bad, ident=q.id ^ 1 << i) for i in range(16)]
        kinds += [q.reply(bad, wire=other), q.reply(bad, flags=0x0100), q.reply(bad, flags=0xa180)]
        kinds += [q.reply(bad, wire=q.wire[:-1] + b"\3")]
        return kinds * 5 + [q.reply(self.addresses(q))]

    # The next `number` ids, and the right one with another question. Then the right answer, more than once: the
    # receiver's buffer may have no room for the first.
    def do_flood(self, q, number, tcp):
        bad = [record(q.name, A, bytes([6, 6, 6, 6]))]
        packet = q.reply(bad)[2:]
        for i in range(1, number + 1):
            self.udp.sendto(((q.id + i) & 65535).to_bytes(2, "big") + packet, q.peer)
            if i % 128 == 0:
                time.sleep(0.001)
        self.udp.sendto(q.reply(bad, wire=name("other.test") + q.wire[-4:]), q.peer)
        for _ in range(20):
            time.sleep(0.01)
            self.udp.sendto(q.reply(self.addresses(q)), q.peer)
        return []

    def do_zero(self, q, number, tcp):
        return [b""] * 50 + [q.reply(self.addresses(q))]

    def do_giant(self, q, number, tcp):
        wrong = q.reply([record(q.name, TXT, b"\xff" + bytes(255)) for _ in range(200)], ident=q.id ^ 1)
        return [wrong] * 3 + [q.reply(self.addresses(q))]

    def do_garbage(self, q, number, tcp):
        return [os.urandom(random.randrange(1, 600)) for _ in range(50)] + [q.reply(self.addresses(q))]

    def do_odd(self, q, number, tcp):
        return q.reply([record(q.name, A, b"\1\2\3")])

    def do_empty(self, q, number, tcp):
        return q.reply([record(q.name, A, b""), record(q.name, A, b"abcd").replace(b"\0\1\0\1", b"\0\1\0\3", 1)])

    def do_source(self, q, number, tcp):
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        for _ in range(20):
            other.sendto(q.reply([record(q.name, A, bytes([6, 6, 6, 6]))]), q.peer)
        time.sleep(0.02)
        return q.reply(self.addresses(q))

    def do_noedns(self, q, number, tcp):
        return q.reply(rcode=1) if q.edns else q.reply(self.addresses(q))

    def do_mute(self, q, number, tcp):
        return None if q.edns else q.reply(self.addresses(q))

    def do_first(self, q, number, tcp):
        with self.lock:
            self.seen[q.name, q.type] = self.seen.get((q.name, q.type), 0) + 1
            return None if self.seen[q.name, q.type] <= number else q.reply(self.addresses(q))

    def do_types(self, q, number, tcp):
        return q.reply(self.types(q))

    def do_big(self, q, number, tcp):
        return q.reply([record(q.name, TXT, b"\x20" + b"x" * 32) for _ in range(20)])

    def handle(self, packet, peer, tcp=False):
        q = Question(packet)
        q.peer = peer
        with self.lock:
            self.log.append("%s %d %d %s %d %s" % ("TCP" if tcp else "UDP", peer[1], q.id, "edns" if q.edns else "-",
                                                   q.type, q.name))
        packets = self.answer(q, tcp)
        return packets if isinstance(packets, list) else [packets] if packets is not None else []

    def handle_udp(self, packet, peer):
        for reply in self.handle(packet, peer):
            self.udp.sendto(reply, peer)

    def serve_udp(self):
        while True:
            packet, peer = self.udp.recvfrom(4096)
            slow = any(word in packet for word in (b"late", b"source", b"flood"))
            if slow:
                threading.Thread(target=self.handle_udp, args=(packet, peer), daemon=True).start()
            else:
                self.handle_udp(packet, peer)

    def serve_stream(self, stream, peer):
        size = stream.read(2)
        while len(size) == 2:
            for reply in self.handle(stream.read(struct.unpack(">H", size)[0]), peer, True):
                stream.write(struct.pack(">H", len(reply)) + reply)
            stream.flush()
            size = stream.read(2)

    def serve_conn(self, conn, peer):
        # Clients that have what they want reset the connection.
        with contextlib.suppress(ConnectionError), conn, conn.makefile("rwb") as stream:
            self.serve_stream(stream, peer)

    def serve_tcp(self):
        while True:
            threading.Thread(target=self.serve_conn, args=self.tcp.accept(), daemon=True).start()

    def start(self):
        for serve in (self.serve_udp, self.serve_tcp):
            threading.Thread(target=serve, daemon=True).start()

    def take_log(self):
        with self.lock:
            log, self.log = self.log, []
        return log


def main():
    server = Server()
    server.start()
    control = socket.create_server(("127.0.0.1", 0))
    print(server.address[1], control.getsockname()[1], flush=True)
    # Nobody who forgets to say "quit" leaves it running for ever.
    threading.Timer(600, lambda: os._exit(1)).start()
    while True:
        conn, _ = control.accept()
        with conn, conn.makefile("rw") as stream:
            if stream.readline().strip() == "quit":
                os._exit(0)
            stream.write("".join(line + "\n" for line in server.take_log()))


if __name__ == "__main__":
    sys.exit(main())
