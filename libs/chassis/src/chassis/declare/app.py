"""What the process gives to the routes and tasks of a service, and what these return to it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, Protocol, TypeVar
from uuid import UUID

from contracts.base import Command, Event
from contracts.deciding import Refusal

if TYPE_CHECKING:
    from asyncpg import Connection, Record
    from fastapi import Request, Response
    from prometheus_client import CollectorRegistry
    from sqlalchemy.engine import RowMapping
    from sqlalchemy.sql import Executable

    from chassis.settings import ServiceSettings


Made = TypeVar("Made")


class App(Protocol):
    """The process as routes and tasks use it. `chassis.process.app` implements it."""

    settings: ServiceSettings
    ending: bool
    """Whether the process was asked to end: a request that waits is answered then."""
    registry: CollectorRegistry
    """Series that are registered here are in /metrics; `shared` registers them once. Named `tradewind_*`, labelled `service`."""

    def principal(self, scope: str, *, one_store: bool = True) -> Callable[..., Awaitable[Principal]]:
        """Returns a FastAPI dependency: the owner of the request's API key, if it has the scope.

        one_store: whether the route acts for one store; an administrator then names it in `X-Store-Id`.
        """

    def behind_seconds(self) -> float | None:
        """Returns how long the oldest record that this process has not handled has waited; None if it reads no topics now."""

    def operation_id(self, request: Request, who: Principal, key: UUID) -> UUID:
        """Returns the operation that a request asks of the aggregate `key`: see `chassis.http.commands`."""

    async def execute(self, request: Request, who: Principal, message: Command, answer: Answer) -> Response:
        """Runs a command and answers the request with its outcome, as `answer` renders it; see `chassis.http.commands`."""

    async def answered(self, request: Request, who: Principal) -> Response | None:
        """Returns the stored answer if the request is a repetition, else None; for routes that check what may have changed since the
        first request before they `execute`. Raises Problem 409 if its Idempotency-Key came with another request."""

    async def submit(self, who: Principal, command: Command) -> Outcome:
        """Runs a command and returns its outcome; the caller answers the request. Raises a transient error as it is."""

    async def read(self, statement: Executable) -> Sequence[RowMapping]:
        """Returns the rows of a query, which runs with the limits and the planner settings of reads."""

    async def fetch(self, statement: str, *arguments: Any) -> Sequence[Record]:
        """Returns the rows of one statement of SQL, which commits by itself; for loops that poll, where `read` costs too much."""

    async def write(self, work: Callable[[Connection], Awaitable[Any]]) -> Any:
        """Runs `work` in a transaction and returns its result; for small tables that no aggregate owns."""

    def shared(self, make: Callable[[App], Made]) -> Made:
        """Returns what `make` returns for this process; called once, for routes and loops that share it."""


ALL_SCOPES: Final = "*"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who makes a request: the owner of its API key, or the person for whom the key acts.

    A key belongs to one store; an administrator's to none.
    """

    name: str
    store_id: str
    scopes: frozenset[str]
    administrator: bool = False
    kind: Literal["api-key", "person", "system"] = "api-key"
    """`person`: the one for whom the key acts. `system`: the service itself."""
    via: str | None = None
    """The actor of the key that acts for a person."""

    def may(self, scope: str) -> bool:
        """Returns whether the principal has a scope."""
        return scope in self.scopes or ALL_SCOPES in self.scopes

    @property
    def actor(self) -> str:
        return f"{self.kind}:{self.name}"


class About(NamedTuple):
    """A kind of problem, as answers and its page show it."""

    status: int
    title: str
    why: str
    remedy: str


Problems = Mapping[str, About]
"""By code. Every code that a service can answer is in its `Service.problems` or in `chassis.http.problems.PROBLEMS`."""

Members = Callable[[str, str, Mapping[str, Any]], Mapping[str, Any]]
"""Code, detail and further members of a problem -> members that it has besides."""


class Requests(NamedTuple):
    """Requests that a service sends to others: `webhooks` of its document."""

    webhooks: Mapping[str, Any]
    """Path items, by name."""
    schemas: Mapping[str, Any]
    """Schemas of components that they refer to."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """An HTTP answer in bytes: stored with its idempotency key, so a repetition gets the same ones."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(slots=True)
class Outcome:
    """The result of handling one message."""

    status: Literal["done", "duplicate", "outdated", "parked", "queued", "ignored", "faulty"]
    """outdated: a precondition of the request does not hold, so it was not executed."""
    state: Any = None
    events: tuple[Event, ...] = ()
    refusal: Refusal | None = None
    error: BaseException | None = None
    answer: Rendered | None = None
    version: int = 0
    """The aggregate's version after the message; 0: it does not exist."""
    unheeded: bool = False
    """The message had no effect because what it refers to does not exist: not yet, or lost by a restore."""


Answer = Callable[[Outcome], tuple[int, Any] | tuple[int, Any, Mapping[str, str]]]
"""Renders an outcome as status, body and, optionally, headers."""
