"""What PostgreSQL or a JavaScript reader could not keep is refused where a message is read."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.base import (
    Code,
    Counter,
    Country,
    Day,
    Document,
    Flag,
    Frozen,
    Id,
    LongText,
    Minor,
    MinorUnsigned,
    Quantity,
    QuantityPositive,
    Rate,
    Text,
    Timestamp,
    to_json,
)
from contracts.limits import MINOR_MAX
from contracts.money import Currency
from contracts.payments import GatewayName

INTEGERS = [Minor, MinorUnsigned, Quantity, QuantityPositive, Counter]


def read(kind: Any, written: str) -> Any:
    return TypeAdapter(kind).validate_json(written)


def refused(kind: Any, written: str) -> None:
    with pytest.raises(ValidationError):
        read(kind, written)


@pytest.mark.parametrize("kind", [Text, LongText, Id, Code, Country, Rate])
@pytest.mark.parametrize("written", [r'"a\u0000b"', r'"\u0000"', r'"\ud800"', "5", "true", "null", "[]"])
def test_a_text_is_unicode_without_nul(kind: Any, written: str) -> None:
    refused(kind, written)


@pytest.mark.parametrize(("kind", "good"), [
    (Code, "demo"), (Country, "DE"), (Rate, "20.00"), (Currency, "EUR"), (GatewayName, "test"),
])  # fmt: skip
@pytest.mark.parametrize("around", ["{}\n", "\n{}", "{}\r", "{} ", "x\n{}"])
def test_a_code_is_matched_whole(kind: Any, good: str, around: str) -> None:
    """In Python's `re`, `$` would also match before a last newline."""
    assert TypeAdapter(kind).validate_python(good) == good
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(around.format(good))


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("written", ["9223372036854775808", "-9223372036854775809", "1" + "0" * 400, "1e400"])
def test_an_integer_that_a_bigint_cannot_hold_is_refused(kind: Any, written: str) -> None:
    refused(kind, written)


@pytest.mark.parametrize("kind", INTEGERS)
@pytest.mark.parametrize("written", ["true", "false", '"1"', "1.0", "1.5", "1e3", "NaN", "null", '""'])
def test_an_integer_is_written_as_an_integer(kind: Any, written: str) -> None:
    refused(kind, written)


@pytest.mark.parametrize("value", [True, 1.0, "1"])
@pytest.mark.parametrize("kind", INTEGERS)
def test_an_integer_is_an_integer_in_python_too(kind: Any, value: object) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(kind).validate_python(value)


def test_the_ends_of_the_ranges_are_taken_and_what_lies_beyond_is_not() -> None:
    for kind, low, high in [
        (Minor, -MINOR_MAX, MINOR_MAX),
        (MinorUnsigned, 0, MINOR_MAX),
        (Quantity, 0, 10**9),
        (QuantityPositive, 1, 10**9),
        (Counter, 0, 2**53 - 1),
    ]:
        assert (read(kind, str(low)), read(kind, str(high))) == (low, high)
        refused(kind, str(low - 1))
        refused(kind, str(high + 1))


def test_every_amount_is_exact_in_a_javascript_number() -> None:
    assert MINOR_MAX < 2**53
    assert int(float(MINOR_MAX - 1)) == MINOR_MAX - 1


@pytest.mark.parametrize("written", ['"yes"', "1", "0", '"false"', "null"])
def test_a_flag_is_true_or_false(written: str) -> None:
    refused(Flag, written)


@pytest.mark.parametrize(
    "written",
    [
        '"2026-11-21T09:30:00"',
        '"2026-11-21"',
        '"9999-12-31T23:59:59-12:00"',
        '"0001-01-01T00:00:00+12:00"',
        '"2199-12-31T23:59:59-12:00"',
        '"1970-01-01T00:00:00+10:00"',
        '"2200-01-01T00:00:00Z"',
        "1763717400",
        '"1763717400"',
        "1763717400.5",
        "true",
        "null",
    ],
)
def test_a_time_without_an_offset_or_out_of_range_or_as_a_number_is_refused(written: str) -> None:
    refused(Timestamp, written)


def test_a_time_is_kept_in_utc_to_the_microsecond() -> None:
    assert read(Timestamp, '"2026-11-21T11:30:00.123456+02:00"') == datetime(2026, 11, 21, 9, 30, 0, 123456, UTC)
    assert read(Timestamp, '"2026-11-21T11:30:00+02:00"').tzinfo is UTC
    assert TypeAdapter(Timestamp).dump_json(read(Timestamp, '"2026-11-21T11:30:00+02:00"')) == b'"2026-11-21T09:30:00Z"'


@given(st.datetimes(timezones=st.timezones()) | st.datetimes())
def test_any_time_is_refused_cleanly_or_read_again_as_it_was_written(moment: datetime) -> None:
    adapter = TypeAdapter(Timestamp)
    try:
        taken = adapter.validate_python(moment)
    except ValidationError:
        return
    assert adapter.validate_json(adapter.dump_json(taken)) == taken
    assert taken.timestamp() == moment.timestamp()


@pytest.mark.parametrize(
    "written",
    ['"2026-11-21T00:00:00"', '"2026-11-21T00:00:00Z"', "86400", '"9999-01-01"', '"2026-02-30"', '"1234567890"'],
)
def test_a_day_is_a_day_and_not_a_time_or_a_number(written: str) -> None:
    refused(Day, written)
    assert read(Day, '"2026-11-21"') == date(2026, 11, 21)


def test_a_midnight_is_not_taken_for_a_day() -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Day).validate_python(datetime(2026, 11, 21, tzinfo=UTC))


def test_countries_that_marketplaces_name_their_own_way_become_iso_codes() -> None:
    assert [read(Country, f'"{code}"') for code in ("EL", "GR", "UK", "GB", "FI")] == ["GR", "GR", "GB", "GB", "FI"]
    for code in ("el", "GRC", "G", "", "G1", "ΕΛ"):
        refused(Country, f'"{code}"')


def test_a_code_is_short_and_holds_no_separator() -> None:
    assert read(Code, '"st_12.a:b-C"') == "st_12.a:b-C"
    for code in ("", "a|b", "a b", "a/b", "ä", "x" * 65, r"a\n"):
        refused(Code, f'"{code}"')


def test_a_rate_is_a_decimal_in_ascii_digits() -> None:
    assert read(Rate, '"25.5"') == "25.5"
    for rate in ("100", "-1", "25,5", "25.", ".5", "1e1", "25.12345", "٢٥", r"25\n"):
        refused(Rate, f'"{rate}"')


def test_an_id_of_somebody_else_is_kept_byte_for_byte() -> None:
    assert read(Id, '" Nr. 7 | e\u0301 "') == " Nr. 7 | e\u0301 "
    refused(Id, '""')
    refused(Id, f'"{"x" * 201}"')


def test_a_value_is_frozen_and_ignores_fields_it_does_not_know() -> None:
    class Point(Frozen):
        x: Counter

    point = Point.model_validate_json('{"x": 1, "y": 2}')
    assert point.model_dump() == {"x": 1}
    with pytest.raises(ValidationError):
        point.x = 2  # type: ignore[misc]


def test_a_state_document_keeps_fields_of_a_newer_release() -> None:
    class State(Document):
        schema_version: int = 1

    assert State.model_validate_json('{"schema_version": 1, "later": {"a": [1]}}').model_dump() == {
        "schema_version": 1,
        "later": {"a": [1]},
    }


def test_a_value_is_written_with_what_it_did_not_know() -> None:
    class Part(Document):
        at: Timestamp
        name: str = ""

    class State(Document):
        parts: tuple[Part, ...] = ()
        by_name: Mapping[str, Part] = {}
        large: Part | None = None

    part = Part.model_validate_json('{"at": "2026-11-21T09:30:00.5Z", "later": {"a": [1]}}')
    state = State(parts=(part,), by_name={"é": part}, large=part)
    assert to_json(state) == state.model_dump_json()


def test_an_id_of_another_class_is_written_as_any_other() -> None:
    class DriversOwn(UUID):
        pass

    class Named(Frozen):
        id: UUID

    text = "cdac17fa-748d-5c30-afb4-776fd89a573f"
    assert to_json(Named.model_construct(id=DriversOwn(text))) == f'{{"id":"{text}"}}'


def test_what_has_no_form_in_json_is_refused_by_name() -> None:
    class Holder(Frozen):
        what: Any

    with pytest.raises(TypeError, match="complex"):
        to_json(Holder(what=1j))
