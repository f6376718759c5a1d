# SPDX-License-Identifier: MIT
# Beside the benches of threads: the same on gevent. Prints NAME_ns=... for each name (all without one); `memory N`,
# `timers N`.
# Alone: python3 scripts/bench/threads_gevent.py [NAME...]
import gc
import os
import random
import sys
import time

import gevent
from gevent.event import Event
from gevent.lock import RLock, Semaphore
from gevent.pool import Pool
from gevent.queue import Channel, Queue


def spin(n):
    for _ in range(n):
        gevent.sleep(0)


def yields(n):
    gevent.joinall([gevent.spawn(spin, n // 2), gevent.spawn(spin, n // 2)])


def empty():
    pass


def spawns(n):
    for _ in range(n // 100):
        for _ in range(100):
            gevent.spawn(empty)
        gevent.sleep(0)


def put_all(q, n):
    for i in range(n):
        q.put(i)


def through(q, n):
    gevent.spawn(put_all, q, n)
    for _ in range(n):
        q.get()


def answer(mine, other, n):
    for _ in range(n):
        mine.wait()
        mine.clear()
        other.set()


def turns(n):
    a, b = Event(), Event()
    threads = [gevent.spawn(answer, a, b, n // 2), gevent.spawn(answer, b, a, n // 2)]
    a.set()
    gevent.joinall(threads)


def events(n):
    e = Event()
    for _ in range(n):
        e.set()
        e.wait()
        e.clear()


def locks(lock, n):
    for _ in range(n):
        lock.acquire()
        lock.release()


RATES = {
    "yield": (100000, yields),
    "spawn": (100000, spawns),
    "queue": (300000, lambda n: through(Queue(128), n)),
    "rendezvous": (100000, lambda n: through(Channel(), n)),
    "turns": (100000, turns),
    "event": (300000, events),
    "semaphore": (300000, lambda n: locks(Semaphore(1), n)),
    "lock": (300000, lambda n: locks(RLock(), n)),
    "map": (100000, lambda n: Pool(100).map(lambda x: x, range(n))),
}


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def memory(n):
    asleep = 0

    def sleeper():
        nonlocal asleep
        asleep += 1
        gevent.sleep(3600)

    before = resident()
    for _ in range(n):
        gevent.spawn(sleeper)
    while asleep < n:
        gevent.sleep(0.1)
    gc.collect()
    print("rss_kib=%.3f" % ((resident() - before) / n), flush=True)
    os._exit(0)


def timers(n):
    late = []

    def sleeper(seconds):
        due = time.monotonic() + seconds
        gevent.sleep(seconds)
        late.append(time.monotonic() - due)

    random.seed(1)
    start = time.process_time()
    sleepers = []
    for _ in range(n // 1000):
        sleepers += [gevent.spawn(sleeper, random.random() * 2) for _ in range(1000)]
        gevent.sleep(0)
    gevent.joinall(sleepers)
    cpu = time.process_time() - start
    late.sort()
    print("timer_ns=%.1f p99_ms=%.3f" % (cpu / n * 1e9, late[n * 99 // 100] * 1e3))


names = sys.argv[1:] or list(RATES)
if names[0] in ("memory", "timers"):
    {"memory": memory, "timers": timers}[names[0]](int(names[1]))
else:
    for name in names:
        n, run = RATES[name]
        run(n // 10)
        start = time.process_time()
        run(n)
        print("%s_ns=%.3f" % (name, (time.process_time() - start) / n * 1e9))
