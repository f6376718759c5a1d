# SPDX-License-Identifier: MIT
# For information beside the sync bench: the same on gevent.
# Alone: python3 scripts/bench/sync_gevent.py
import time

import gevent
from gevent.event import Event
from gevent.lock import RLock, Semaphore
from gevent.pool import Pool
from gevent.queue import Channel, Queue


def measure(name, n, run):
    run(n // 10)
    start = time.process_time()
    run(n)
    print("%s_ns=%.3f" % (name, (time.process_time() - start) / n * 1e9))


def spin(n):
    for _ in range(n):
        gevent.sleep(0)


def yields(n):
    gevent.joinall([gevent.spawn(spin, n // 2), gevent.spawn(spin, n // 2)])


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


measure("yield", 100000, yields)
measure("queue", 300000, lambda n: through(Queue(128), n))
measure("rendezvous", 100000, lambda n: through(Channel(), n))
measure("turns", 100000, turns)
measure("event", 300000, events)
measure("semaphore", 300000, lambda n: locks(Semaphore(1), n))
measure("lock", 300000, lambda n: locks(RLock(), n))
measure("map", 100000, lambda n: Pool(100).map(lambda x: x, range(n)))
