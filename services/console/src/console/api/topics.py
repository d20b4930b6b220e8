"""The pages of topics: the messages that are on them, read without a consumer group. Nothing is produced or committed."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

import structlog
from fastapi import APIRouter, Depends, Path, Query, Response
from markupsafe import Markup
from pydantic import AfterValidator, BaseModel, BeforeValidator, Field
from sqlalchemy import select

from chassis.http.problems import Problem
from chassis.kafka.inspection import BrokerSilent, TopicPartition
from console import recording, tailing
from console.api.refusals import refusal
from console.api.rendering import query
from console.api.requesting import revealed
from console.api.serving import Pages, Part
from console.audit import Subject
from console.domain.operations import SILENT_AFTER
from console.domain.people import PERSONAL, Person, Stores
from console.live import tails
from console.live.tails import SCOPE, TailSource
from console.sought import Record, Sought
from console.tables import order_rows
from console.tailing import Place, cursor_of, place_of
from contracts.base import Text
from contracts.registry import MESSAGES, PARTITIONS, TOPICS

log = structlog.get_logger("console.api")

OFFSET_MAX: Final = 2**63 - 1


def _given(value: object) -> object:
    """A form sends every field: an empty one chooses nothing."""
    return None if value == "" else value


def _topic(name: str | None) -> str | None:
    if name is not None and name not in TOPICS:
        raise ValueError("there is no topic of this name")
    return name


def _utc(at: datetime | None) -> datetime | None:
    """A field `datetime-local` states no time zone: it is UTC."""
    return at if at is None or at.tzinfo is not None else at.replace(tzinfo=UTC)


Partition = Annotated[int, Path(ge=0, lt=PARTITIONS)]
Offset = Annotated[int, Path(ge=0, le=OFFSET_MAX)]


class Asked(BaseModel):
    """The query of the tail. Without a place it begins at the newest message and goes back."""

    topic: Annotated[str | None, BeforeValidator(_given), AfterValidator(_topic)] = None
    order: Annotated[UUID | None, BeforeValidator(_given)] = None
    type: Annotated[str, Field(pattern=r"^[a-z_]*\.?[a-z_]*$", max_length=80)] = ""
    text: Annotated[Text, Field(max_length=100)] = ""
    since: Annotated[datetime | None, BeforeValidator(_given), AfterValidator(_utc)] = None
    partition: Annotated[int | None, BeforeValidator(_given), Field(ge=0, lt=PARTITIONS)] = None
    offset: Annotated[int | None, BeforeValidator(_given), Field(ge=0, le=OFFSET_MAX)] = None
    cursor: str | None = None

    @property
    def filters(self) -> int:
        """How many of its fields choose something."""
        chosen = (self.topic, self.order, self.type, self.text, self.since)
        return sum(map(bool, chosen)) + (self.offset is not None)

    def link(self, **change: Any) -> str:
        """Returns the address of the same tail with something changed, from its beginning."""
        same = self.model_dump(mode="json", exclude_none=True, exclude={"cursor"})
        return f"/topics/tail?{query(same | change)}"


def add_routes(router: APIRouter, pages: Pages) -> None:
    SignedIn = Annotated[Person, Depends(pages.person)]
    pages.hub.add(tails.NAME, TailSource(pages.tail, Shown(pages)))

    @router.get("/topics")
    async def overview(person: SignedIn) -> Response:
        _allowed(person)
        flowed_at, groups, rates = await recording.flows(pages.app)
        flows = {name: {group: read[name] for group, read in groups.items() if name in read} for name in TOPICS}
        is_stale = flowed_at is None or pages.templates.now() - flowed_at > SILENT_AFTER
        return pages.page(
            "topics.html", person=person, topics=TOPICS.values(), flows=flows, rates=rates, flowed_at=flowed_at, is_stale=is_stale
        )  # fmt: skip

    @router.get("/topics/tail")
    async def tail(asked: Annotated[Asked, Query()], person: SignedIn, part: Part = "") -> Response:
        _allowed(person)
        sought = Sought(person.stores_with(SCOPE), asked.topic or "", asked.order, asked.type, asked.text)
        try:
            place = await _place(pages, asked, sought)
            found = await pages.tail.page(sought, place)
        except BrokerSilent as error:
            raise _silent(error) from error
        is_live = asked.offset is None and (found.is_whole if place.way == "on" else asked.cursor is None)
        return pages.page(
            "tail.html", part=part, person=person, asked=asked, found=found, way=place.way, topics=list(TOPICS),
            types=sorted(MESSAGES), numbers=await _numbers(pages, found.records, person.stores), link=asked.link,
            channel=tails.channel_of(sought) if is_live else None,
            position=query({tails.NAME: cursor_of(found.newer)}) if is_live else None,
            further=asked.link(cursor=cursor_of(found.further)), newer=asked.link(cursor=cursor_of(found.newer)),
        )  # fmt: skip

    @router.get("/topics/{topic}/{partition}/{offset}")
    async def record(topic: str, partition: Partition, offset: Offset, person: SignedIn) -> Response:
        return await _record_page(pages, person, await _record(pages, person, topic, partition, offset))

    @router.post("/topics/{topic}/{partition}/{offset}/reveal")
    async def reveal(topic: str, partition: Partition, offset: Offset, person: SignedIn) -> Response:
        """Shows personal data of a record in the answer to this one request."""
        record = await _record(pages, person, topic, partition, offset)
        subject = Subject("record", f"{topic}/{partition}/{offset}", record.store_id or None)
        await revealed(pages, person, subject)
        return await _record_page(pages, person, record, personal=True)


def _allowed(person: Person) -> None:
    if not person.may(SCOPE):
        raise refusal("action_forbidden", f"it needs the scope {SCOPE}")


async def _record(pages: Pages, person: Person, topic: str, partition: int, offset: int) -> Record:
    """Returns a record that the person may see. Raises Problem 403, 404, 503."""
    _allowed(person)
    try:
        found = await pages.tail.one(topic, partition, offset) if topic in TOPICS else None
    except BrokerSilent as error:
        raise _silent(error) from error
    if found is None or not Sought(person.stores_with(SCOPE)).fits(found):
        raise refusal("record_unknown", f"{topic}, partition {partition}, has no record {offset} that you may see")
    return found


async def _record_page(pages: Pages, person: Person, record: Record, *, personal: bool = False) -> Response:
    may_reveal = person.at(record.store_id or None).may(PERSONAL)
    numbers = await _numbers(pages, [record], person.stores)
    return pages.page(
        "record.html", person=person, record=record, numbers=numbers, may_reveal=may_reveal, revealed=personal
    )


def _silent(error: BrokerSilent) -> Problem:
    log.warning("broker_silent", error=str(error))
    return refusal("broker_silent", "Kafka has not answered in time")


async def _place(pages: Pages, asked: Asked, sought: Sought) -> Place:
    """Returns where the page begins. Raises Problem 400, BrokerSilent."""
    if asked.offset is not None:
        if asked.topic is None or asked.partition is None:
            raise refusal("filter_invalid", "offset: name its topic and partition, too")
        parts = [TopicPartition(asked.topic, asked.partition)]
    else:
        parts = tailing.partitions(sought)
    if asked.cursor is not None:
        return place_of(asked.cursor, parts)
    if asked.offset is not None:
        return Place("on", {parts[0]: asked.offset})
    return await pages.tail.since(parts, asked.since) if asked.since is not None else await pages.tail.newest(parts)


async def _numbers(pages: Pages, records: Collection[Record], stores: Stores) -> Mapping[UUID, str]:
    """Returns the numbers of the orders that the records are about, of those in some stores; null: in all."""
    keys = {record.key for record in records if record.key is not None}
    if not keys:
        return {}
    mine = select(order_rows.c.order_id, order_rows.c.store_id, order_rows.c.number)
    rows = await pages.app.read(mine.where(order_rows.c.order_id.in_(keys)))
    return {row["order_id"]: row["number"] for row in rows if stores is None or row["store_id"] in stores}


class Shown:
    """The rows of a tail, as its page has them."""

    def __init__(self, pages: Pages) -> None:
        self._pages = pages

    async def rows(self, records: Sequence[Record], sought: Sought) -> str:
        numbers = await _numbers(self._pages, records, sought.stores)
        macros = self._pages.templates.macros("tail-row.html")
        return Markup("").join(macros.row(record, numbers, sought.text) for record in records)

    def skipped(self, count: int) -> Mapping[str, str]:
        macros = self._pages.templates.macros("tail-row.html")
        return {"skipped": macros.skipped(count, self._pages.clock())}
