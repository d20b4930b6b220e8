"""Every leaf of published marketplace payloads has a place: a field of the snapshot, an attribute, or a reason why it has none.

`marketplaces/<name>/` holds the payloads (`SOURCES.md` states where they are from) and `fields.toml`, the table of their leaves.
A section of the table is a kind of document: the `files` and the paths (`roots`) where it is found, its `fields` by path of the
snapshot, and the `meaningless` leaves by reason. `*` matches any text. The longest entry that matches a leaf classifies it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import pytest
from pydantic import BaseModel

from contracts.snapshot import Snapshot

FOLDER: Final = Path(__file__).parent / "marketplaces"
MARKETPLACES: Final = sorted(path.parent.name for path in FOLDER.glob("*/fields.toml"))


class Leaf(NamedTuple):
    file: str
    path: str
    """From the root of the file; `[]` is any position in a list."""


class Section(NamedTuple):
    name: str
    files: tuple[str, ...]
    roots: tuple[str, ...]
    entries: dict[str, str]
    """Leaf, or pattern of leaves -> path of the snapshot, or reason."""

    def root(self, leaf: Leaf) -> str | None:
        """Returns the longest root that the leaf is below, or None if the section does not describe it."""
        if not any(fnmatch(leaf.file, pattern) for pattern in self.files):
            return None
        return max((root for root in self.roots if leaf.path.startswith(root)), key=len, default=None)

    def entry(self, path: str) -> str | None:
        """Returns the entry that classifies a path below a root, or None."""
        return max((entry for entry in self.entries if _pattern(entry).fullmatch(path)), key=len, default=None)


@cache
def _pattern(entry: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, entry.split("*"))))


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """The paths of everything that is no object or list with content."""
    if isinstance(value, dict) and value:
        for name, part in value.items():
            yield from leaves(part, f"{path}.{name}" if path else name)
    elif isinstance(value, list) and value:
        for part in value:
            yield from leaves(part, f"{path}[]")
    else:
        yield path


def payload_leaves(marketplace: str) -> list[Leaf]:
    return sorted(
        {
            Leaf(file.name, path)
            for file in (FOLDER / marketplace).glob("*.json")
            for path in leaves(json.loads(file.read_text("utf-8")))
        }
    )


def sections(marketplace: str) -> list[Section]:
    table = tomllib.loads((FOLDER / marketplace / "fields.toml").read_text("utf-8"))
    found = []
    for name, part in table.items():
        rows = [
            (entry, target)
            for kind in ("fields", "meaningless")
            for target, all_ in part[kind].items()
            for entry in all_
        ]
        assert len({entry for entry, _ in rows}) == len(rows), f"{marketplace} {name}: a leaf is listed twice"
        found.append(Section(name, tuple(part["files"]), tuple(part["roots"]), dict(rows)))
    return found


def classified(leaf: Leaf, parts: list[Section]) -> tuple[str, str | None]:
    """Returns the section that describes the leaf with the longest root, and the entry there."""
    section, root = max(
        ((part, root) for part in parts if (root := part.root(leaf)) is not None), key=lambda found: len(found[1])
    )
    return section.name, section.entry(leaf.path[len(root) :])


def snapshot_paths(model: type[BaseModel], path: str = "") -> Iterator[str]:
    """The path of every field that holds no fields of its own."""
    for name, field in model.model_fields.items():
        below = f"{path}.{name}" if path else name
        models = [one for one in _within(field.annotation) if isinstance(one, type) and issubclass(one, BaseModel)]
        below += "[]" if any(one is tuple for one in _within(field.annotation)) else ""
        if models:
            yield from snapshot_paths(models[0], below)
        else:
            yield below


def _within(annotation: Any) -> Iterator[Any]:
    """The types in an annotation, and `tuple` for a list."""
    yield getattr(annotation, "__origin__", annotation)
    for part in get_args(annotation):
        yield from _within(part)


def test_payloads_of_several_marketplaces_are_here() -> None:
    assert len(MARKETPLACES) >= 5
    assert {path.parent.name for path in FOLDER.glob("*/*.json")} == {*MARKETPLACES}
    sources = (FOLDER / "SOURCES.md").read_text("utf-8")
    assert all(f"`{path.relative_to(FOLDER).as_posix()}`" in sources for path in FOLDER.glob("*/*.json"))


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_every_leaf_of_every_payload_has_one_place(marketplace: str) -> None:
    parts = sections(marketplace)
    without = [leaf for leaf in payload_leaves(marketplace) if classified(leaf, parts)[1] is None]
    assert not without, "\n".join(f"{leaf.file} {leaf.path}: not classified" for leaf in without)


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_every_entry_of_the_table_is_used(marketplace: str) -> None:
    parts = sections(marketplace)
    used = {classified(leaf, parts) for leaf in payload_leaves(marketplace)}
    assert {(part.name, entry) for part in parts for entry in part.entries} - used == set()


@pytest.mark.parametrize("marketplace", MARKETPLACES)
def test_every_field_that_the_table_names_is_in_the_snapshot(marketplace: str) -> None:
    table = tomllib.loads((FOLDER / marketplace / "fields.toml").read_text("utf-8"))
    named = {field for part in table.values() for field in part["fields"]}
    assert named - {*snapshot_paths(Snapshot)} == set()
    assert not {
        reason for part in table.values() for reason in part["meaningless"] if reason.startswith(("order.", "source."))
    }


def test_a_leaf_without_an_entry_is_found() -> None:
    part = Section("order", ("*.json",), ("", "order."), {"id": "order.external_order_id", "*.id": "an id", "a.*": "x"})
    assert classified(Leaf("f.json", "order.id"), [part]) == ("order", "id")
    assert classified(Leaf("f.json", "order.number"), [part]) == ("order", None)
    assert classified(Leaf("f.json", "a.id"), [part]) == ("order", "*.id")
