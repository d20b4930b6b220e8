"""Requests that run a command: Idempotency-Key, operation id, `If-Match`, and the outcome as an answer."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Container
from typing import Annotated, Final

from fastapi import Depends, Request, Response

from chassis.batch.errors import StoreDiffers, is_transient, overtaxes
from chassis.batch.idempotency import KeyReused
from chassis.batch.inbound import Idempotency, Inbound
from chassis.batch.shell import Shell
from chassis.declare.app import Answer, Outcome, Principal, Rendered
from chassis.http.bodies import as_json
from chassis.http.openapi import HEADER_PATTERN, shown_header
from chassis.http.problems import PROBLEMS, Problem, known, respond, unavailable
from contracts.base import Command
from contracts.envelope import traceparent
from contracts.ids import derived

TAG_PATTERN: Final = '(?:W/)?"[!#-~]*"'
"""An entity tag (RFC 9110, 8.8.3) in ASCII."""
TAGS_PATTERN: Final = rf"^(?:\*|{TAG_PATTERN}(?:[ \t]*,[ \t]*{TAG_PATTERN})*)$"


def _documented(
    idempotency_key: Annotated[
        str | None,
        shown_header("Idempotency-Key", HEADER_PATTERN, "1 to 255 characters: a repeated request has its effect once."),
    ] = None,
) -> None:
    """A dependency that documents the header; `idempotency_key` reads and checks it."""


COMMAND: Final = [Depends(_documented)]
"""`dependencies` of a route that runs a command."""


def _documented_version(
    if_match: Annotated[
        str | None,
        shown_header(
            "If-Match",
            TAGS_PATTERN,
            "The `ETag` of an earlier answer: 412 if the resource changed since then.",
            examples=('"7"', "*"),
        ),
    ] = None,
) -> None:
    """A dependency that documents the header; `if_match` reads and checks it."""


CHANGE: Final = [*COMMAND, Depends(_documented_version)]
"""`dependencies` of a route that runs a command on an aggregate whose version it shows."""


CONDITIONAL: Final = [Depends(_documented_version)]
"""`dependencies` of a route that replaces a row whose version it shows."""


def idempotency_key(request: Request) -> str | None:
    """Returns the request's Idempotency-Key. Raises Problem 400."""
    key = request.headers.get("idempotency-key")
    if key is not None and not re.fullmatch(HEADER_PATTERN, key):
        raise known("idempotency_key_invalid", "send 1 to 255 printable ASCII characters")
    return key


def identity(request: Request, who: Principal) -> str | None:
    """Returns the request's identity within its store: SHA-256 of principal, method, path and Idempotency-Key; None without."""
    key = idempotency_key(request)
    if not key:
        return None
    return hashlib.sha256("\n".join((who.actor, request.method, request.scope["path"], key)).encode()).hexdigest()


WAITING: Final = (b"wait=", b"timeout=")
"""Parameters that state when a request is answered, not what it does: a repetition may have others."""


async def fingerprint(request: Request) -> bytes:
    """Returns SHA-256 of query and body: equal for a repetition, different when a client uses its key for another request."""
    query = b"&".join(part for part in request.scope["query_string"].split(b"&") if not part.startswith(WAITING))
    return hashlib.sha256(query + b"\n" + await request.body()).digest()


def operation_id(request: Request, who: Principal, key: uuid.UUID, retention_days: int, now: float) -> uuid.UUID:
    """Returns the operation that a request asks of the aggregate `key`.

    With an Idempotency-Key it is a function of store, aggregate, the request's identity and the current period of
    `retention_days`. After its retention a key is therefore another operation, and a restored database, which has lost
    the stored answer, recognises the request by its operation within the same period. Without a key it is random.

    now: seconds since the epoch by the database's clock, which is the same on every host.
    """
    asked = identity(request, who)
    if asked is None:
        return uuid.uuid4()
    period = int(now // (retention_days * 86_400))
    return derived(key, f"{who.store_id}|{asked}|{period}")


ANY_VERSION: Final = range(2**31)


def if_match(request: Request) -> Container[int] | None:
    """Returns the versions in `If-Match`; None without the header. Raises Problem 400.

    `*` is every version of an existing resource. A weak tag and a tag that is no version match nothing (RFC 9110, 13.1.1).
    """
    header = request.headers.get("if-match")
    if header is None:
        return None
    if header == "*":
        return ANY_VERSION
    if not re.fullmatch(TAGS_PATTERN, header):
        raise known("if_match_invalid", 'send the `ETag` of an answer, e.g. `"7"`, or `*`')
    tags: list[str] = re.findall(TAG_PATTERN, header)
    return frozenset(int(tag[1:-1]) for tag in tags if re.fullmatch('"[0-9]{1,10}"', tag))


def precondition(request: Request, present: int | None) -> None:
    """Raises Problem 412 if the request has `If-Match` without the present version; None: the resource does not exist.

    The caller has locked the row, so that the version is still the present one when it writes.
    """
    wanted = if_match(request)
    if wanted is None or (present is not None and present in wanted):
        return
    if present is None:
        raise known("version_outdated", "it does not exist")
    raise outdated(present)


def outdated(present: int) -> Problem:
    """Returns the problem of a request for another version than the present one."""
    problem = known("version_outdated", f"the present version is {present}", version=present)
    problem.headers = etag(present)
    return problem


def etag(version: int) -> dict[str, str]:
    """Returns the header that names a version."""
    return {"etag": f'"{version}"'}


async def submit(shell: Shell, who: Principal, command: Command) -> Outcome:
    """Runs a command that is a part of a request and returns its outcome. Raises a transient error as it is."""
    operation = command.operation_id
    return await shell.submit(
        Inbound(
            "http",
            command.key,
            command.store_id,
            operation,
            command.TYPE,
            command,
            str(operation),
            actor=who.actor,
            via=who.via,
        )
    )


async def execute(shell: Shell, request: Request, who: Principal, message: Command, answer: Answer) -> Response:
    """Runs a command through the shell and renders its outcome; with an Idempotency-Key, once.

    The command's operation is the one that `operation_id` derives from the request; it is the message's identity, too.
    Raises Problem.
    """
    path, operation = request.scope["path"], message.operation_id
    key = identity(request, who)
    idempotency = Idempotency(who.store_id, key, await fingerprint(request)) if key else None

    def render(outcome: Outcome) -> Rendered:
        if outcome.refusal is not None:
            code = outcome.refusal.code
            about = {**PROBLEMS, **shell.service.problems}[code]
            present = {"version": outcome.version} if code == "version_outdated" else {}
            refused = Problem(
                about.status, code, about.title, outcome.refusal.detail, **outcome.refusal.more, **present
            )
            return refused.rendered(path, etag(outcome.version) if present else None)
        status, body, *more = answer(outcome)
        return as_json(status, body, {**etag(outcome.version), **(more[0] if more else {})})

    inbound = Inbound(
        "http", message.key, message.store_id, operation, message.TYPE, message, str(operation),
        traceparent(request.headers.get("traceparent")), actor=who.actor, via=who.via, idempotency=idempotency, render=render,
        if_versions=if_match(request),
    )  # fmt: skip
    try:
        outcome = await shell.submit(inbound)
    except Exception as error:
        if is_transient(error):
            raise unavailable(error) from error
        raise
    if outcome.answer is not None:
        return respond(outcome.answer)
    if isinstance(outcome.error, KeyReused):
        raise known("idempotency_key_reused", "use a new key per request")
    if outcome.error is not None and overtaxes(outcome.error):
        raise known("request_timed_out", "nothing was done; make the request smaller")
    if isinstance(outcome.error, StoreDiffers):
        raise known("resource_unknown", "there is nothing of that id in your store")
    raise known("service_failed", "nothing was done; the operators see it in the log")
