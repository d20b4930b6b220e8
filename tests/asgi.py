"""HTTP applications that run in the process of a test."""

from __future__ import annotations

from functools import lru_cache

from fastapi import FastAPI

from chassis.process.app import App


@lru_cache(maxsize=1)
def asgi_of(app: App) -> FastAPI:
    """The application, made once for all clients of a test: making it takes 0.1 s of CPU."""
    return app.asgi()
