"""Bodies of requests and answers: what is readable at all, and JSON."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_to_bytes

import orjson
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from chassis.declare.app import Rendered
from chassis.http.problems import known, respond

BODY_BYTES_MAX: Final = 1024 * 1024
FORMS: Final = frozenset({b"application/x-www-form-urlencoded", b"multipart/form-data"})
"""The media types of HTML forms: without and with files."""


def as_json(status: int, body: Any, headers: Mapping[str, str] | None = None) -> Rendered:
    """Renders `body` as JSON. A row's column names are strings of SQLAlchemy's own class: hence OPT_NON_STR_KEYS."""
    written = orjson.dumps(body, default=_plain, option=orjson.OPT_NON_STR_KEYS)
    return Rendered(status, {"content-type": "application/json", **(headers or {})}, written)


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, uuid.UUID):  # the driver's own class
        return str(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class Readable:
    """ASGI middleware that refuses what no route can read: 400 unless path and query are UTF-8 without NUL, 415 for a body that
    is not declared as JSON, or with `forms` as an HTML form (RFC 9110, 15.5.16), 413 for one over BODY_BYTES_MAX, of which no more than that is buffered."""

    def __init__(self, app: ASGIApp, forms: bool = False) -> None:
        self.app, self.forms = app, forms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        if not all(map(_is_text, (scope.get("raw_path") or b"", scope["query_string"]))):
            unreadable = known("url_unreadable", "path and query are percent-encoded UTF-8 without NUL")
            return await respond(unreadable.rendered())(scope, receive, send)
        declared = _declared_type(scope)
        taken, is_read = 0, _is_json(declared) or (self.forms and declared in FORMS)

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken and not is_read:
                raise HTTPException(415, "The body is not declared as JSON", {"accept": "application/json"})
            if taken > BODY_BYTES_MAX:
                raise HTTPException(413, f"The body is larger than {BODY_BYTES_MAX} bytes")
            return message

        await self.app(scope, counted, send)


def _declared_type(scope: Scope) -> bytes:
    """Returns the media type that the header `Content-Type` names, without its parameters."""
    declared: bytes = next((value for name, value in scope["headers"] if name == b"content-type"), b"")
    return declared.partition(b";")[0].strip().lower()


def _is_json(media_type: bytes) -> bool:
    """Returns whether it is JSON, or a type with the suffix `+json`."""
    kind, _, subtype = media_type.partition(b"/")
    return kind == b"application" and (subtype == b"json" or subtype.endswith(b"+json"))


def _is_text(encoded: bytes) -> bool:
    """Returns whether a part of a URL decodes to text that PostgreSQL can store. A server replaces what it cannot decode."""
    try:
        return "\0" not in unquote_to_bytes(encoded).decode("utf-8")
    except UnicodeDecodeError:
        return False
