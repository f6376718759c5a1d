# SPDX-License-Identifier: MIT
# Beside the http bench: hello world on FastAPI and uvicorn.
# Alone: python3 scripts/bench/http_fastapi.py
import socket

import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse

app = FastAPI()


@app.get("/", response_class=PlainTextResponse)
async def hello():
    return "hello world\n"


listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
print("listening on http://127.0.0.1:%d" % listener.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False)).run([listener])
