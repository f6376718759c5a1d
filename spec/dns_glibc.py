# SPDX-License-Identifier: MIT
# Compares grun.resolve with glibc's getaddrinfo: same result, and the same names asked for in the same order.
# Usage: unshare -mn python3 spec/dns_glibc.py GRUN     (as root; replaces /etc/resolv.conf in its own mount namespace)
import itertools
import os
import random
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from dns_server import Server  # noqa: E402

SEARCH = ["", "search test", "search nx.test test", "search nodata.test test", "search servfail.test test",
          "search test .", "search refused.test test", "search a.nx.test b.nx.test"]
NDOTS = ["", "options ndots:0", "options ndots:2"]
FIRST = ["ok", "v4", "v6", "nx", "nodata", "servfail", "refused", "chain2", "unknown", "trunc"]
LAST = ["", ".", ".test", ".test.", ".x", ".nx.test", ".sub.test"]
SCRIPT = """
for line in io.lines() do
  local list, _, code = grun.resolve(line)
  print(list and (table.sort(list) or table.concat(list, " ")) or code)
  io.stdout:flush()
end
"""


def skip(why):
    print("skip: " + why)
    sys.exit(0)


def run(*command):
    try:
        if subprocess.run(command, stderr=subprocess.DEVNULL).returncode != 0:
            skip(" ".join(command) + " failed")
    except FileNotFoundError:
        skip(command[0] + " is not installed")


def glibc(name):
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        return " ".join(sorted({info[4][0] for info in found}, key=lambda ip: ip.encode()))
    except socket.gaierror:
        return "failed"


# The names of the A questions, without repetitions: which failing servers are asked again is another matter.
def names_asked(server):
    names = [line.split(" ")[5] for line in server.take_log() if line.split(" ")[4] == "1"]
    return [name for name, _ in itertools.groupby(names)]


def main():
    run("ip", "link", "set", "lo", "up")
    conf = tempfile.NamedTemporaryFile("w", suffix=".conf")
    run("mount", "--bind", conf.name, "/etc/resolv.conf")
    server = Server("127.0.0.1", 53)
    server.start()
    script = tempfile.NamedTemporaryFile("w", suffix=".lua")
    script.write(SCRIPT)
    script.flush()
    total = differ = 0
    for search, ndots in itertools.product(SEARCH, NDOTS):
        conf.seek(0)
        conf.truncate()
        conf.write("nameserver 127.0.0.1\n%s\n%s\noptions timeout:1 attempts:1\n" % (search, ndots))
        conf.flush()
        # A new process: what it has in its cache would not be asked for.
        grun = subprocess.Popen([sys.argv[1], script.name], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for name in random.sample([a + b for a in FIRST for b in LAST], 21):
            server.take_log()
            expected, order = glibc(name), names_asked(server)
            grun.stdin.write(name + "\n")
            grun.stdin.flush()
            got = grun.stdout.readline().rstrip("\n")
            asked = names_asked(server)
            total += 1
            if (got if "." in got or ":" in got else "failed") != expected or not is_part(asked, order):
                differ += 1
                print("%s, %s: %s: glibc %s %s, grun %s %s" % (search, ndots, name, expected, order, got, asked))
        grun.stdin.close()
        grun.wait()
    print("%d names, %d differ" % (total, differ))


# True if `part` is `whole` without some: those that grun had in its cache.
def is_part(part, whole):
    rest = iter(whole)
    return all(name in rest for name in part)


if __name__ == "__main__":
    main()
