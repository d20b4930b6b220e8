"""The guard over schemas: the present ones run beside the last release, and every way to break that is found."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Annotated, Any, Literal

import pytest
from contracts_payloads import payloads
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import Field, StringConstraints, create_model

from contracts import schemas
from contracts.base import Counter, Flag, Frozen, Message, Minor, Open, Personal, Text, Timestamp
from contracts.compatibility import Finding, Schema, gaps, incompatibilities


def test_the_present_contracts_run_beside_the_last_release() -> None:
    assert schemas.BASELINE.exists()
    assert [str(finding) for finding in incompatibilities(schemas.baseline(), schemas.present())] == []


def pieces(most: int) -> Any:
    return Annotated[int, Field(ge=1, le=most)]


# A small message, and what may become of it: a field is (type, default), `...` for required; None removes it.
PIECE: dict[str, Any] = {
    "sku": (Text, ...),
    "quantity": (pieces(100), 1),
    "note": (Annotated[Text, Personal()] | None, None),
}
SENT: dict[str, Any] = {
    "number": (Text, ...),
    "how": (Literal["post", "courier"], "post"),
    "weight": (Annotated[int, Field(ge=0, le=100)] | None, None),
    "at": (Timestamp, ...),
    "code": (Annotated[str, StringConstraints(pattern="^[a-z]+$", min_length=2, max_length=20)], "aa"),
    "insured": (Flag, False),
}


def piece(**changes: Any) -> type[Frozen]:
    return create_model("Piece", __base__=Frozen, **{name: kind for name, kind in (PIECE | changes).items() if kind})


def sent(part: type[Frozen] | None = None, **changes: Any) -> dict[str, Any]:
    """The schemas of a release that publishes the message, `part` being its pieces."""
    one: Any = part or piece()
    whole = SENT | {"pieces": (several(one), ...), "first": (one, one(sku="x", quantity=1))} | changes
    model: Any = create_model("Sent", __base__=Message, **{name: kind for name, kind in whole.items() if kind})
    model.TYPE = "parcels.sent"
    return dict(schemas.present({model.TYPE: model}))


@cache
def before() -> dict[str, Any]:
    return sent()


def found(after: dict[str, Any]) -> list[Finding]:
    return incompatibilities(before(), after)


def text(pattern: str | None = "^[a-z]+$", min_length: int = 2, max_length: int = 20) -> Any:
    return Annotated[str, StringConstraints(pattern=pattern, min_length=min_length, max_length=max_length)]


def several(part: Any, most: int = 10, least: int | None = None) -> Any:
    return Annotated[tuple[part, ...], Field(min_length=least, max_length=most)]


BROKEN: dict[str, tuple[Callable[[], Any], str, str]] = {
    # what was done: (the schemas after it, built by its test alone, where it is found, a word of the finding)
    "the type is gone": (dict, "$", "type or its version was removed"),
    "a required field is removed": (lambda: sent(number=None), "$.number", "removed or renamed"),
    "an optional field is removed": (lambda: sent(weight=None), "$.weight", "removed or renamed"),
    "a field is renamed": (lambda: sent(number=None, no=(Text, ...)), "$.number", "removed or renamed"),
    "a renamed field is missed by who has the old name": (lambda: sent(number=None, no=(Text, ...)), "$.no", "required"),
    "a new field is required": (lambda: sent(shop=(Text, ...)), "$.shop", "required"),
    "an optional field becomes required": (lambda: sent(how=(Literal["post", "courier"], ...)), "$.how", "required"),
    "a text becomes a number": (lambda: sent(number=(Counter, ...)), "$.number", "integer where string"),
    "a number becomes a text": (lambda: sent(weight=(Text | None, None)), "$.weight", "string"),
    "a flag becomes a text": (lambda: sent(insured=(Text, "")), "$.insured", "string"),
    "a time becomes any text": (lambda: sent(at=(Text, ...)), "$.at", "format"),
    "a text becomes a time": (lambda: sent(number=(Timestamp, ...)), "$.number", "format"),
    "a list becomes one": (lambda: sent(pieces=(piece(), ...)), "$.pieces", "array"),
    "null is no longer taken": (lambda: sent(weight=(Annotated[int, Field(ge=0, le=100)], 0)), "$.weight", "null"),
    "null is written to who does not take it": (lambda: sent(number=(Text | None, ...)), "$.number", "null"),
    "a value is taken from an enum": (lambda: sent(how=(Literal["post"], "post")), "$.how", "'courier'"),
    "a value is added to an enum": (lambda: sent(how=(Literal["post", "courier", "drone"], "post")), "$.how", "'drone'"),
    "an enum becomes any text": (lambda: sent(how=(Text, "post")), "$.how", "named values"),
    "any text becomes an enum": (lambda: sent(number=(Literal["1"], ...)), "$.number", "named values"),
    "a minimum is raised": (lambda: sent(weight=(Annotated[int, Field(ge=1, le=100)] | None, None)), "$.weight", "minimum"),
    "a maximum is lowered": (lambda: sent(weight=(Annotated[int, Field(ge=0, le=99)] | None, None)), "$.weight", "maximum"),
    "a maximum is raised": (lambda: sent(weight=(Annotated[int, Field(ge=0, le=101)] | None, None)), "$.weight", "maximum"),
    "a bound is lifted": (lambda: sent(weight=(Annotated[int, Field(ge=0)] | None, None)), "$.weight", "maximum is open"),
    "a text gets shorter": (lambda: sent(code=(text(max_length=19), "aa")), "$.code", "maxLength"),
    "a text gets longer": (lambda: sent(code=(text(max_length=21), "aa")), "$.code", "maxLength"),
    "a text may be shorter": (lambda: sent(code=(text(min_length=1), "aa")), "$.code", "minLength"),
    "a pattern changes": (lambda: sent(code=(text(pattern="^[a-z0-9]+$"), "aa")), "$.code", "pattern"),
    "a pattern is dropped": (lambda: sent(code=(text(pattern=None), "aa")), "$.code", "pattern"),
    "fewer items are taken": (lambda: sent(pieces=(several(piece(), most=9), ...)), "$.pieces", "maxItems"),
    "at least one item is wanted": (
        lambda: sent(pieces=(several(piece(), least=1), ...)), "$.pieces", "minItems",
    ),
    "a nested field is removed": (lambda: sent(piece(note=None)), "$.pieces[].note", "removed or renamed"),
    "a nested field becomes required": (lambda: sent(piece(quantity=(pieces(100), ...))), "$.pieces[].quantity", "required"),
    "a nested bound moves": (lambda: sent(piece(quantity=(pieces(50), 1))), "$.pieces[].quantity", "maximum"),
    "the same, by its other way in": (lambda: sent(piece(quantity=(pieces(50), 1))), "$.first.quantity", "maximum"),
    "a default changes": (lambda: sent(how=(Literal["post", "courier"], "courier")), "$.how", "default changed from 'post'"),
    "a nested default changes": (lambda: sent(piece(quantity=(pieces(100), 2))), "$.first.quantity", "default changed"),
    "false becomes zero": (lambda: sent(insured=(Minor, 0)), "$.insured", "integer"),
    "a personal field is no longer marked": (lambda: sent(piece(note=(Text | None, None))), "$.pieces[].note", "personal"),
}  # fmt: skip


@pytest.mark.parametrize("what", BROKEN)
def test_what_breaks_a_reader_of_either_release_is_found(what: str) -> None:
    after, path, word = BROKEN[what]
    findings = found(after())
    hits = [finding for finding in findings if finding.path == path and word in finding.what]
    assert hits, f"{path} {word!r} is not among {[str(finding) for finding in findings]}"
    assert all(finding.type == "parcels.sent/1" and finding.why for finding in hits)


HARMLESS: dict[str, Callable[[], Any]] = {
    "nothing changes": sent,
    "fields change their order": lambda: dict(sent(**dict(reversed(SENT.items())))),
    "an optional field is added": lambda: sent(shop=(Text | None, None)),
    "a field with a default is added": lambda: sent(signed=(Flag, False), tries=(Counter, 0)),
    "a nested optional field is added": lambda: sent(piece(colour=(Text | None, None))),
    "an optional list of new things is added": lambda: sent(boxes=(several(piece()), ())),
    "a required field gets a default, which our writers write": lambda: sent(number=(Text, "")),
    "a field is marked as personal": lambda: sent(number=(Annotated[Text, Personal()], ...)),
    "a nested model gets another name": lambda: sent(create_model("Item", __base__=Frozen, **PIECE)),
    "a description is written": lambda: sent(number=(Annotated[Text, Field(description="What it is called.")], ...)),
    "an enum accepts further words": lambda: sent(how=(Annotated[Literal["post", "courier"], Open()], "post")),
    "a type is added": lambda: sent() | {"parcels.lost": sent()["parcels.sent"]},
    "a version is added": lambda: {"parcels.sent": {**sent()["parcels.sent"], "2": {"reader": {}, "writer": {}}}},
}


def test_a_release_may_add_a_word_to_an_open_enum_and_may_not_close_it() -> None:
    def release(kind: Any) -> dict[str, Any]:
        return sent(how=(kind, "post"))

    open_one = release(Annotated[Literal["post", "courier"], Open()])
    assert incompatibilities(open_one, release(Annotated[Literal["post", "courier", "drone"], Open()])) == []
    closed = incompatibilities(open_one, release(Literal["post", "courier", "drone"]))
    assert any(finding.path == "$.how" and "named values" in finding.what for finding in closed)


@pytest.mark.parametrize("what", HARMLESS)
def test_what_both_releases_can_live_with_is_no_finding(what: str) -> None:
    assert [str(finding) for finding in found(HARMLESS[what]())] == []


@pytest.mark.parametrize(
    ("values", "reader", "odd"),
    [
        (["post", "courier"], {"type": "string", "maxLength": 5}, "'courier'"),
        (["post", "courier"], {"type": "string", "minLength": 5}, "'post'"),
        (["post", "courier"], {"type": "string", "pattern": "^[a-p]"}, None),
        (["post", "courier"], {"type": "string", "pattern": "^[a-n]"}, "'post'"),
        (["post"], {"type": "string", "format": "date"}, "'post'"),
        (["post", 7, None], {"anyOf": [{"type": "string"}, {"type": "integer", "maximum": 7}, {"type": "null"}]}, None),
        (["post", 8, None], {"anyOf": [{"type": "string"}, {"type": "integer", "maximum": 7}, {"type": "null"}]}, "8"),
        ([1, 0], {"enum": [True, False, 0]}, "1"),
        ([True], {"type": "integer"}, "True"),
    ],
)
def test_named_values_are_held_against_what_the_other_side_takes(
    values: list[Any], reader: Schema, odd: str | None
) -> None:
    told = [] if odd is None else [("$", f"the values {odd} are on one side only, or bounded otherwise")]
    assert gaps({"enum": values}, reader) == told


def test_a_new_version_does_not_excuse_the_old_one() -> None:
    only_new = {"parcels.sent": {"2": sent()["parcels.sent"]["1"]}}
    assert [finding.what for finding in found(only_new)] == ["the type or its version was removed"]


def test_a_keyword_that_the_guard_does_not_know_is_for_a_person_to_compare() -> None:
    after = deepcopy(sent())
    after["parcels.sent"]["1"]["reader"]["properties"]["number"]["not"] = {"const": "0"}
    assert [finding.path for finding in found(after) if "not is not understood" in finding.what] == ["$.number"]


def test_a_model_that_holds_itself_is_compared_once() -> None:
    def tree(most: int) -> Schema:
        node = {
            "type": "object",
            "required": ["n"],
            "properties": {
                "n": {"type": "integer", "maximum": most},
                "kids": {"type": "array", "items": {"$ref": "#/$defs/Node"}},
            },
        }
        return {"$ref": "#/$defs/Node", "$defs": {"Node": node}}

    assert gaps(tree(5), tree(5)) == []
    assert gaps(tree(6), tree(5)) == [("$.n", "maximum is 6 on one side, 5 on the other")]


def test_a_finding_says_what_and_where_and_why() -> None:
    assert str(found(sent(shop=(Text, ...)))[0]) == (
        "parcels.sent/1 $.shop: required on one side, absent or optional on the other;"
        " messages of the last release may not validate"
    )


# For any two small schemas: if no gap is found, what the one admits validates under the other.
LEAVES = st.one_of(
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.fixed_dictionaries(
        {"enum": st.lists(st.sampled_from(["a", "bb", "ccc", 1, 7, True, None]), min_size=1, max_size=3)}
    ),
    st.fixed_dictionaries({"const": st.sampled_from(["a", "bb", 1])}),
    st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"minimum": st.integers(-2, 3), "maximum": st.integers(4, 8)}
    ),
    st.fixed_dictionaries(
        {"type": st.just("string")},
        optional={
            "minLength": st.integers(0, 2),
            "maxLength": st.integers(2, 4),
            "pattern": st.sampled_from(["^[a-z]{1,3}$", "^[ab]{2}$"]),
        },
    ),
    st.sampled_from([{"type": "string", "format": name} for name in ("uuid", "date", "date-time")]),
)


def _object(fields: dict[str, Schema], needed: set[str], closed: bool) -> Schema:
    rest = {"additionalProperties": False} if closed else {}
    return {"type": "object", "properties": fields, "required": sorted(needed & fields.keys()), **rest}


names = st.sampled_from("abc")
SCHEMAS: st.SearchStrategy[Schema] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.builds(_object, st.dictionaries(names, inner, max_size=3), st.sets(names), st.booleans()),
        st.fixed_dictionaries(
            {"type": st.just("array"), "items": inner},
            optional={"minItems": st.integers(0, 1), "maxItems": st.integers(1, 3)},
        ),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
    ),
    max_leaves=4,
)


def mutated(schema: Schema, data: st.DataObject) -> Schema:
    """The schema with one place of it made anew, so that the two are near enough to be compatible at times."""
    after = deepcopy(schema)
    place: Schema = after
    while data.draw(st.booleans()):
        inner = [
            *place.get("properties", {}).values(),
            *place.get("anyOf", []),
            *([place["items"]] if "items" in place else []),
        ]
        if not inner:
            break
        place = data.draw(st.sampled_from(inner))
    keyword = data.draw(st.sampled_from(sorted(place)))
    if keyword in ("type", "const", "enum", "items", "anyOf", "format"):
        fresh = data.draw(SCHEMAS)
        place.clear()
        place.update(fresh)
    elif keyword == "properties":
        place["properties"] = {**place["properties"], data.draw(names): data.draw(LEAVES)}
    elif keyword == "required":
        place["required"] = sorted(data.draw(st.sets(names)) & place["properties"].keys())
    else:
        del place[keyword]
    return after


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_gap_is_a_proof(data: st.DataObject) -> None:
    one = data.draw(SCHEMAS)
    other = data.draw(SCHEMAS) if data.draw(st.integers(0, 3)) == 0 else mutated(one, data)
    for writer, reader in ((one, other), (other, one), (one, one)):
        if not gaps(writer, reader):
            payload = data.draw(payloads(writer, writer))
            Draft202012Validator(reader, format_checker=Draft202012Validator.FORMAT_CHECKER).validate(payload)
