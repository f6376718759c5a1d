# SPDX-License-Identifier: MIT
# For the startup bench: a script that only loads FastAPI and uvicorn.
import fastapi  # noqa: F401
import uvicorn  # noqa: F401
