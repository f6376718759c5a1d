# SPDX-License-Identifier: MIT
# Beside the benches of threads: the same with tasks of asyncio, on uvloop. Prints NAME_ns=... for each name (all without
# one); `memory N`, `timers N`.
# Alone: python3 scripts/bench/threads_asyncio.py [NAME...]
import asyncio
import gc
import os
import random
import sys
import time

import uvloop


async def spin(n):
    for _ in range(n):
        await asyncio.sleep(0)


async def yields(n):
    await asyncio.gather(spin(n // 2), spin(n // 2))


async def empty():
    pass


async def spawns(n):
    for _ in range(n // 100):
        tasks = [asyncio.create_task(empty()) for _ in range(100)]
        await asyncio.sleep(0)
    await tasks[-1]


async def put_all(q, n):
    for i in range(n):
        await q.put(i)


async def through(n):
    q = asyncio.Queue(128)
    putter = asyncio.create_task(put_all(q, n))
    for _ in range(n):
        await q.get()
    await putter


async def answer(mine, other, n):
    for _ in range(n):
        await mine.wait()
        mine.clear()
        other.set()


async def turns(n):
    a, b = asyncio.Event(), asyncio.Event()
    a.set()
    await asyncio.gather(answer(a, b, n // 2), answer(b, a, n // 2))


async def events(n):
    e = asyncio.Event()
    for _ in range(n):
        e.set()
        await e.wait()
        e.clear()


async def locks(lock, n):
    for _ in range(n):
        await lock.acquire()
        lock.release()


RATES = {
    "yield": (200000, yields),
    "spawn": (100000, spawns),
    "queue": (300000, through),
    "turns": (100000, turns),
    "event": (300000, events),
    "semaphore": (300000, lambda n: locks(asyncio.Semaphore(1), n)),
    "lock": (300000, lambda n: locks(asyncio.Lock(), n)),
}


def resident():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


async def memory(n):
    asleep = 0

    async def sleeper():
        nonlocal asleep
        asleep += 1
        await asyncio.sleep(3600)

    before = resident()
    tasks = [asyncio.create_task(sleeper()) for _ in range(n)]
    while asleep < len(tasks):
        await asyncio.sleep(0.1)
    gc.collect()
    print("rss_kib=%.3f" % ((resident() - before) / n), flush=True)
    os._exit(0)


async def timers(n):
    late = []

    async def sleeper(seconds):
        due = time.monotonic() + seconds
        await asyncio.sleep(seconds)
        late.append(time.monotonic() - due)

    random.seed(1)
    start = time.process_time()
    tasks = []
    for _ in range(n // 1000):
        tasks += [asyncio.create_task(sleeper(random.random() * 2)) for _ in range(1000)]
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    cpu = time.process_time() - start
    late.sort()
    print("timer_ns=%.1f p99_ms=%.3f" % (cpu / n * 1e9, late[n * 99 // 100] * 1e3))


async def main():
    names = sys.argv[1:] or list(RATES)
    if names[0] in ("memory", "timers"):
        return await {"memory": memory, "timers": timers}[names[0]](int(names[1]))
    for name in names:
        n, run = RATES[name]
        await run(n // 10)
        start = time.process_time()
        await run(n)
        print("%s_ns=%.3f" % (name, (time.process_time() - start) / n * 1e9))


uvloop.install()
asyncio.run(main())
