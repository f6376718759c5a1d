# SPDX-License-Identifier: MIT
# A foreign peer for spec/websocket_spec.lua, by python3-websockets. Usage: client URL [OPTIONS] | server [OPTIONS]
# OPTIONS: of permessage-deflate, in JSON.
import asyncio
import json
import sys

import websockets
from websockets.extensions import permessage_deflate


def extensions(factory, at):
    return [factory(**json.loads(sys.argv[at]))] if len(sys.argv) > at else None


async def echo(ws, path=None):
    try:
        async for message in ws:
            await ws.send(message)
    except websockets.ConnectionClosed:
        pass


async def serve():
    deflate = extensions(permessage_deflate.ServerPerMessageDeflateFactory, 2)
    async with websockets.serve(echo, "127.0.0.1", 0, max_size=None, subprotocols=["echo"], extensions=deflate,
                                compression=None) as server:
        print(server.sockets[0].getsockname()[1], flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def visit(url):
    deflate = extensions(permessage_deflate.ClientPerMessageDeflateFactory, 3)
    async with websockets.connect(url, subprotocols=["other", "echo"], max_size=None, extensions=deflate,
                                  compression=None) as ws:
        print("protocol", ws.subprotocol)
        for message in ["hello", "", "grüße", b"\x00\xff" * 40000, "x" * 300000]:
            await ws.send(message)
            print("same" if await ws.recv() == message else "different")
        await ws.send(iter_pieces())
        print(await ws.recv())
        await asyncio.wait_for(await ws.ping(b"there?"), 10)
        print("pong")
        await ws.send("close 4321")
        try:
            await ws.recv()
        except websockets.ConnectionClosed as end:
            print("closed", end.rcvd.code, end.rcvd.reason)


async def iter_pieces():
    for piece in ["in ", "three ", "pieces"]:
        yield piece


asyncio.run(serve() if sys.argv[1] == "server" else visit(sys.argv[2]))
