"""What people attach to an order: always possible, idempotent, never a status, bounded."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from orders_play import ORDER, STORE, Play, content, market, uid
from pydantic import ValidationError

from contracts.base import Command
from contracts.limits import METADATA_BYTES_MAX, METADATA_DEPTH_MAX, TAGS_MAX
from contracts.orders import (
    AddAttachment,
    AddNote,
    Archive,
    Archived,
    AttachmentAdded,
    ChangeTags,
    MetadataChanged,
    NoteAdded,
    ReferenceChanged,
    SetMetadata,
    SetReference,
    TagsChanged,
    Unarchive,
    Unarchived,
    json_object,
)
from orders.domain.decisions import actions
from orders.domain.state.annotations import NONE, metadata_after, tags_after

URL = "https://files.example.com/claims/1.pdf"


def asked(model: type[Command], operation: str = "op", **body: Any) -> Any:
    return model(order_id=ORDER, store_id=STORE, operation_id=uid(operation), actor="person:ann", **body)


EVERY = (
    asked(Archive), asked(Unarchive), asked(AddNote, text="call back"), asked(ChangeTags, add=("vip",)),
    asked(SetMetadata, metadata='{"erp":7}'), asked(AddAttachment, name="Claim", url=URL), asked(SetReference, reference="R-1"),
)  # fmt: skip


def states() -> dict[str, Play]:
    return {
        "pending": Play().receives(content(lifecycle="awaiting_payment"), market()),
        "placing": Play().receives(content(), market()),
        "placed": Play().receives(content(), market(approval="manual")).reserved().authorized(),
        "approved": Play().paid_and_in_the_warehouse(),
        "shipped": Play().paid_and_in_the_warehouse().shipped(),
        "completed": Play().paid_and_in_the_warehouse().shipped().fulfilled(),
        "exception": Play().receives(content(), market()).reserved().authorized().started().captured().rejected(),
        "undone": Play().receives(content(lifecycle="awaiting_payment"), market()).cancels(),
        "test": Play().receives(content(test=True), market()),
    }


@pytest.mark.parametrize("state", states())
def test_everything_can_be_attached_in_every_state_and_moves_nothing(state: str) -> None:
    play = states()[state]
    before = play.order
    for request in EVERY[:1] + EVERY:  # archived when it begins
        play.when(request)
        assert play.refusal is None and not play.sent
    assert play.order.annotations is not None and play.order.metadata == '{"erp":7}'
    assert play.order.model_copy(update={"annotations": None, "metadata": None}) == before


@pytest.mark.parametrize("request_", EVERY, ids=lambda one: type(one).__name__)
def test_nothing_can_be_attached_to_an_order_that_does_not_exist(play: Play, request_: Command) -> None:
    play.when(request_).nothing()
    assert play.refusal and play.refusal.code == "order_unknown"


def test_an_order_is_archived_once_and_goes_on(play: Play) -> None:
    play.receives(content(), market()).when(asked(Archive)).then(Archived)
    event, since = play.event(Archived), play.now
    assert (event.operation_id, event.archived_at, event.actor) == (uid("op"), since, "person:ann")
    play.when(asked(Archive, "again")).nothing()
    assert play.refusal is None and play.order.annotations is not None and play.order.annotations.archived_at == since
    play.reserved().authorized().started()
    assert play.status == "approved/authorized/in_progress" and play.order.annotations.archived_at == since
    play.when(asked(Unarchive, "back")).then(Unarchived).when(asked(Unarchive, "twice")).nothing()
    assert play.refusal is None and play.order.annotations.archived_at is None


def test_archive_and_unarchive_are_legal_by_turns(play: Play) -> None:
    def legal() -> dict[str, str | None]:
        return {one.action: one.why_not for one in actions.legal(play.order) if "archive" in one.action}

    play.receives(content(), market())
    assert legal() == {"archive": None, "unarchive": "order_not_archived"}
    play.when(asked(Archive))
    assert legal() == {"archive": "order_archived", "unarchive": None}


def test_a_note_has_its_author_its_readers_and_a_number(play: Play) -> None:
    play.receives(content(), market())
    play.when(asked(AddNote, "one", text="call back", author="Ann")).then(NoteAdded)
    one = play.event(NoteAdded)
    assert (one.note_id, one.number, one.author, one.actor, one.audience) == (
        uid("one"),
        1,
        "Ann",
        "person:ann",
        "internal",
    )
    play.when(asked(AddNote, "two", text="It ships on Monday.", audience="customer"))
    two = play.event(NoteAdded)
    assert (two.number, two.author, two.audience, two.at) == (2, "person:ann", "customer", play.now)
    assert play.order.annotations == NONE.model_copy(update={"notes": 2}), "texts are in rows of their own"


def test_tags_are_removed_then_added_and_sorted(play: Play) -> None:
    play.receives(content(), market()).when(asked(ChangeTags, add=("late", "vip"))).then(TagsChanged)
    play.when(asked(ChangeTags, add=("b2b", "vip"), remove=("late", "vip", "unused"))).then(TagsChanged)
    event = play.event(TagsChanged)
    assert (event.tags, event.added, event.removed) == (("b2b", "vip"), ("b2b",), ("late",))
    play.when(asked(ChangeTags, add=("vip",), remove=("late",))).nothing()
    assert play.refusal is None
    play.when(asked(ChangeTags, remove=("b2b", "vip"))).then(TagsChanged)
    assert play.order.annotations is not None and play.order.annotations.tags == ()


def test_an_eleventh_tag_is_refused_and_changes_none(play: Play) -> None:
    ten = tuple(f"t{n}" for n in range(TAGS_MAX))
    play.receives(content(), market()).when(asked(ChangeTags, add=ten)).then(TagsChanged)
    play.when(asked(ChangeTags, add=("more",))).nothing()
    assert play.refusal and play.refusal.code == "tags_exceeded"
    play.when(asked(ChangeTags, add=("more",), remove=("t0",))).then(TagsChanged)
    with pytest.raises(ValidationError):
        asked(ChangeTags, add=(*ten, "more"))


@pytest.mark.parametrize("tag", ["", "VIP", "vip ", "vip\n", "a" * 26, "ä", "a,b", "null\0"])
def test_a_tag_has_1_to_25_characters_of_commerce_layers_set(tag: str) -> None:
    with pytest.raises(ValidationError):
        asked(ChangeTags, add=(tag,))
    asked(ChangeTags, add=("a" * 25, "0", "a_b:c-d", "null"))


WORDS = st.lists(st.sampled_from(["a", "b", "c", "d"]), max_size=4).map(tuple)


@given(present=WORDS, add=WORDS, remove=WORDS)
def test_tags_are_a_set(present: tuple[str, ...], add: tuple[str, ...], remove: tuple[str, ...]) -> None:
    after = tags_after(present, add, remove)
    assert list(after) == sorted({*after}) and {*add} <= {*after} and not {*remove} - {*add} & {*after}
    assert tags_after(after, add, remove) == after, "a repetition changes nothing"


def test_metadata_is_merged_member_by_member_or_replaced_whole(play: Play) -> None:
    play.receives(content(), market())
    play.when(asked(SetMetadata, metadata='{"erp": {"id": 7, "state": "new"}, "pick": [1, 2]}')).then(MetadataChanged)
    play.when(asked(SetMetadata, metadata='{"erp":{"state":"sent"},"pick":[3],"none":null}')).then(MetadataChanged)
    assert json.loads(play.order.metadata or "") == {"erp": {"id": 7, "state": "sent"}, "pick": [3]}
    assert play.event(MetadataChanged).metadata == play.order.metadata
    play.when(asked(SetMetadata, metadata='{"pick":[3]}')).nothing()
    play.when(asked(SetMetadata, metadata='{"a":null}', mode="replace")).then(MetadataChanged)
    assert play.order.metadata == '{"a":null}'
    play.when(asked(SetMetadata, metadata='{"a":null}', mode="replace")).nothing()
    play.when(asked(SetMetadata, metadata="{}", mode="replace")).then(MetadataChanged)
    play.when(asked(SetMetadata, metadata="{}")).nothing()
    assert play.refusal is None


def test_metadata_that_would_be_too_large_is_refused_and_changes_nothing(play: Play) -> None:
    half = METADATA_BYTES_MAX // 2
    play.receives(content(), market()).when(asked(SetMetadata, metadata=json.dumps({"a": "x" * half}))).then(
        MetadataChanged
    )
    before = play.order.metadata
    play.when(asked(SetMetadata, metadata=json.dumps({"b": "x" * half}))).nothing()
    assert play.refusal and play.refusal.code == "metadata_exceeded" and play.order.metadata == before
    play.when(asked(SetMetadata, metadata=json.dumps({"a": None, "b": "x" * half}))).then(MetadataChanged)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from("abcd"), below, max_size=3), max_leaves=8,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from("abcd"), JSON, max_size=4)


def patched(target: Any, patch: Any) -> Any:
    """The pseudocode of RFC 7396, section 2."""
    if isinstance(patch, dict):
        target = target if isinstance(target, dict) else {}
        for name, value in patch.items():
            if value is None:
                if name in target:
                    target = {other: target[other] for other in target if other != name}
            else:
                target = {**target, name: patched(target.get(name), value)}
        return target
    return patch


@given(present=OBJECTS, patch=OBJECTS)
def test_a_merge_is_the_one_of_rfc_7396_and_a_repetition_changes_nothing(present: Any, patch: Any) -> None:
    after = metadata_after(json_object(present), json_object(patch), "merge")
    assert json.loads(after) == patched(present, patch)
    assert metadata_after(after, json_object(patch), "merge") == after
    assert metadata_after(json_object(present), json_object(patch), "replace") == json_object(patch)


def nested(levels: int) -> Any:
    return {"a": nested(levels - 1)} if levels > 1 else {}


@pytest.mark.parametrize("text", [
    "", "[]", "7", "null", "{", '{"a":NaN}', '{"a":1e999}', '{"a":"\\u0000"}', '{"\\u0000":1}', '{"a":"\\ud800"}',
    f'{{"a":{2**53}}}', f'{{"a":{-2**60}}}', '{"a":' * 2_000 + "1" + "}" * 2_000, json.dumps(nested(METADATA_DEPTH_MAX + 1)),
    json.dumps({"a": "é" * (METADATA_BYTES_MAX // 2)}, ensure_ascii=False),
])  # fmt: skip
def test_metadata_is_an_object_that_every_reader_holds_exactly(text: str) -> None:
    with pytest.raises(ValidationError):
        asked(SetMetadata, metadata=text)


def test_metadata_holds_the_largest_values_that_it_may() -> None:
    largest = {"n": 2**53 - 1, "f": 1.5, "deep": nested(METADATA_DEPTH_MAX - 1), "text": "\N{PILE OF POO}"}
    assert json.loads(asked(SetMetadata, metadata=json.dumps(largest)).metadata) == largest
    filler = "x" * (METADATA_BYTES_MAX - len(json_object({"a": ""})))
    assert len(json_object({"a": filler})) == METADATA_BYTES_MAX


@pytest.mark.parametrize("url", [
    "javascript:alert(1)", "data:text/html,x", "ftp://a.b/c", "//a.b/c", "/c", "a.b", "http://", "https:///c", "HTTPS://a.b",
    "https://user:secret@a.b/c", "https://a.b/c d", "https://a.b/\n", "https://a.b/\u202e", 'https://a.b/"><script>',
    "https://a.b/" + "x" * 2_000,
])  # fmt: skip
def test_an_attachment_is_a_web_address_without_credentials(url: str) -> None:
    with pytest.raises(ValidationError):
        asked(AddAttachment, name="Claim", url=url)


@pytest.mark.parametrize(
    "url", ["https://a.b", "http://localhost:8080/x?y=1&z=%20#f", "https://[::1]/a@b", "https://a.b?x"]
)
def test_an_attachment_is_stored_as_it_was_given(play: Play, url: str) -> None:
    play.receives(content(), market()).when(asked(AddAttachment, name="Claim", url=url)).then(AttachmentAdded)
    one = play.event(AttachmentAdded)
    assert (one.attachment_id, one.number, one.url, one.name) == (uid("op"), 1, url, "Claim")


def test_a_reference_is_set_replaced_and_removed(play: Play) -> None:
    play.receives(content(), market()).when(asked(SetReference, reference=None)).nothing()
    play.when(asked(SetReference, reference="R-1")).then(ReferenceChanged).when(
        asked(SetReference, reference="R-1")
    ).nothing()
    play.when(asked(SetReference, reference=None)).then(ReferenceChanged)
    assert play.refusal is None and play.order.annotations is not None and play.order.annotations.reference is None
