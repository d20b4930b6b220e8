"""Checks that messages of an old and a new release can be read by both. Compares JSON Schemas; accepts only what it can prove.

Topics retain messages for ever and a deploy rolls, so both directions must hold:
- old to new: what the old release wrote, or what outsiders write by its schema, validates under the new reader and means the same;
- new to old: what the new release writes validates under the old reader: a new optional field does, a new word of an
  enum does if the enum is `Open`.

Writers add no field of their own. A new type is no finding: deploy its reader first. What breaks gets a new
`SCHEMA_VERSION` or a new type, while the old stays.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any, Final

Schema = dict[str, Any]
Schemas = Mapping[str, Mapping[str, Mapping[str, Schema]]]
"""Type -> version -> "reader" or "writer" -> schema."""

OLD: Final = "messages of the last release"
NEW: Final = "readers of the last release, in a rolling deploy,"
ANNOTATIONS: Final = frozenset({"$id", "$schema", "$defs", "title", "description", "default", "examples", "x-personal"})
BOUNDS: Final = (
    *(("minimum", 1), ("exclusiveMinimum", 1), ("minLength", 1), ("minItems", 1)),
    *(("maximum", -1), ("exclusiveMaximum", -1), ("maxLength", -1), ("maxItems", -1)),
)
"""Keyword, and 1 where a larger value admits less."""
UNDERSTOOD: Final = ANNOTATIONS | {keyword for keyword, _ in BOUNDS} | {
    *("type", "enum", "const", "anyOf", "$ref", "pattern", "format"),
    *("properties", "required", "additionalProperties", "items"),
}  # fmt: skip


@dataclass(frozen=True, order=True, slots=True)
class Finding:
    """What changed, where, and what it breaks."""

    type: str
    path: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.type} {self.path}: {self.what}; {self.why}"


def incompatibilities(old: Schemas, new: Schemas) -> list[Finding]:
    """Every finding between two sets of schemas, sorted; none when both releases can run side by side."""
    found: set[Finding] = set()
    for kind, version in ((kind, version) for kind, versions in old.items() for version in versions):
        was, now, name = old[kind][version], new.get(kind, {}).get(version), f"{kind}/{version}"
        if now is None:
            found.add(Finding(name, "$", "the type or its version was removed", f"{OLD} can no longer be read"))
            continue
        for side in ("reader", "writer"):  # outsiders write by the readers' schema
            for path, what in gaps(was[side], now["reader"]):
                found.add(Finding(name, path, what, f"{OLD} may not validate"))
        for path, what in gaps(now["writer"], was["reader"]):
            found.add(Finding(name, path, what, f"{NEW} refuse it"))
        for path, what in losses(was["reader"], now["reader"]):
            found.add(Finding(name, path, what, f"{OLD} would mean something else"))
        for path, what in chain(lost_fields(was["writer"], now["writer"]), lost_fields(was["reader"], now["reader"])):
            found.add(Finding(name, path, what, f"{OLD} lose it, {NEW} miss it"))
    return sorted(found)


Gap = tuple[str, str]
"""JSON path, and what is wrong there."""


def gaps(writer: Schema, reader: Schema) -> list[Gap]:
    """Where a payload that `writer` admits could fail under `reader`. Empty is a proof; a gap may be over-careful."""
    return list(_Comparison(writer, reader).gaps(writer, reader, "$"))


def losses(old: Schema, new: Schema) -> list[Gap]:
    """Where a payload that both admit is read differently: another default, a personal field no longer marked."""
    return [
        gap
        for path, was, now in _Comparison(old, new).pairs(old, new, "$")
        for gap in _read_differently(path, was, now)
    ]


def lost_fields(old: Schema, new: Schema) -> list[Gap]:
    """Fields that the new schema does not have: removed, or renamed."""
    return [
        (f"{path}.{name}", "the field was removed or renamed")
        for path, was, now in _Comparison(old, new).pairs(old, new, "$")
        for name in was.get("properties", {})
        if "properties" in now and name not in now["properties"]
    ]


class _Comparison:
    """Two whole schemas, to follow `$ref` in, and the pairs of definitions that are being compared already."""

    def __init__(self, left: Schema, right: Schema) -> None:
        self._left, self._right = left, right
        self._open: set[tuple[str | None, str | None]] = set()

    def gaps(self, left: Schema, right: Schema, path: str) -> Iterator[Gap]:
        refs = (left.get("$ref"), right.get("$ref"))
        if refs in self._open:
            return  # a definition that holds itself
        if all(refs):
            self._open.add(refs)
        yield from self._gaps(_resolved(left, self._left), _resolved(right, self._right), path)
        self._open.discard(refs)

    def _gaps(self, left: Schema, right: Schema, path: str) -> Iterator[Gap]:
        strange = (left.keys() | right.keys()) - UNDERSTOOD
        if strange and left != right:
            yield path, f"{', '.join(sorted(strange))} is not understood here: compare by hand"
        elif "anyOf" in left:
            for option in left["anyOf"]:
                yield from self.gaps(option, right, path)
        elif "enum" in left or "const" in left:
            odd = [value for value in left.get("enum", [left.get("const")]) if not self._takes(right, value)]
            if odd:
                yield path, f"the values {', '.join(map(repr, odd))} are on one side only, or bounded otherwise"
        elif "anyOf" in right:
            tried = [list(self.gaps(left, option, path)) for option in right["anyOf"]]
            if all(tried):
                same = [found for option, found in zip(right["anyOf"], tried, strict=True) if self._alike(left, option)]
                yield from (same or [[(path, f"{_named(left)} is admitted by none of {_names(right)}")]])[0]
        elif "enum" in right or "const" in right:
            yield path, f"any {_named(left)} where only named values are taken"
        elif right.get("type") not in (None, left.get("type")) and (left.get("type"), right["type"]) != (
            "integer",
            "number",
        ):
            yield path, f"{_named(left)} where {_named(right)} is taken"
        else:
            yield from self._parts(left, right, path)

    def _parts(self, left: Schema, right: Schema, path: str) -> Iterator[Gap]:
        for keyword, sign in BOUNDS:
            if keyword in right and (keyword not in left or left[keyword] * sign < right[keyword] * sign):
                yield path, f"{keyword} is {left.get(keyword, 'open')} on one side, {right[keyword]} on the other"
        for keyword in ("pattern", "format"):
            if right.get(keyword) not in (None, left.get(keyword)):
                yield path, f"{keyword} is {left.get(keyword, 'open')} on one side, {right[keyword]} on the other"
        if "items" in right:
            yield from self.gaps(left.get("items", {}), right["items"], f"{path}[]")
        theirs, ours = left.get("properties", {}), right.get("properties", {})
        for name in right.get("required", ()):
            if name not in left.get("required", ()):
                yield f"{path}.{name}", "required on one side, absent or optional on the other"
        rest = right.get("additionalProperties", True)
        for name, field in theirs.items():
            if name in ours:
                yield from self.gaps(field, ours[name], f"{path}.{name}")
            elif rest is False:
                yield f"{path}.{name}", "the field is forbidden on one side"
            elif isinstance(rest, dict):
                yield from self.gaps(field, rest, f"{path}.{name}")
        more = left.get("additionalProperties", True)
        if rest is not True and more is not False:
            yield from self.gaps(more if isinstance(more, dict) else {}, rest or {"const": None}, f"{path}.*")
        if isinstance(more, dict):
            for name in ours.keys() - theirs.keys():
                yield from self.gaps(more, ours[name], f"{path}.{name}")

    def pairs(self, left: Schema, right: Schema, path: str) -> Iterator[tuple[str, Schema, Schema]]:
        """Every place that both schemas have, references resolved, options of `anyOf` matched by what they are."""
        refs = (left.get("$ref"), right.get("$ref"))
        if refs in self._open:
            return
        if all(refs):
            self._open.add(refs)
        left, right = _resolved(left, self._left), _resolved(right, self._right)
        yield path, left, right
        for option in left.get("anyOf", [left] if "anyOf" in right else []):
            for other in right.get("anyOf", [right]):
                if self._alike(option, other):
                    yield from self.pairs(option, other, path)
        if "items" in left and "items" in right:
            yield from self.pairs(left["items"], right["items"], f"{path}[]")
        for name in left.get("properties", {}).keys() & right.get("properties", {}).keys():
            yield from self.pairs(left["properties"][name], right["properties"][name], f"{path}.{name}")
        self._open.discard(refs)

    def _alike(self, left: Schema, right: Schema) -> bool:
        left, right = _resolved(left, self._left), _resolved(right, self._right)
        return (left.get("type"), left.get("format")) == (right.get("type"), right.get("format"))

    def _takes(self, schema: Schema, value: Any) -> bool:
        """Whether a single value is admitted."""
        schema = _resolved(schema, self._right)
        if "anyOf" in schema:
            return any(self._takes(option, value) for option in schema["anyOf"])
        if "enum" in schema or "const" in schema:
            return any(_kept(value, known) for known in schema.get("enum", [schema.get("const")]))
        if isinstance(value, str):
            size, fits = len(value), schema.get("type", "string") == "string" and "format" not in schema
            fits = fits and schema.get("minLength", 0) <= size <= schema.get("maxLength", size)
            return fits and re.search(schema.get("pattern", ""), value) is not None
        exact: Schema = {"type": _type_of(value)}
        if exact["type"] in ("integer", "number"):
            exact |= {"minimum": value, "maximum": value}
        return not list(self.gaps(exact, schema, "$"))


def _read_differently(path: str, was: Schema, now: Schema) -> Iterator[Gap]:
    if was.get("x-personal") and not now.get("x-personal"):
        yield path, "the field is no longer marked as personal"
    if "default" in was and "default" in now and not _kept(was["default"], now["default"]):
        yield path, f"the default changed from {was['default']!r} to {now['default']!r}"


def _kept(was: Any, now: Any) -> bool:
    """Whether a default still means the same. A new optional field in it is no change."""
    if isinstance(was, dict) and isinstance(now, dict):
        return all(name in now and _kept(value, now[name]) for name, value in was.items())
    return bool(was == now and type(was) is type(now))


def _resolved(schema: Schema, whole: Schema) -> Schema:
    ref = schema.get("$ref")
    if ref is None:
        return schema
    return {**whole["$defs"][ref.removeprefix("#/$defs/")], **{name: v for name, v in schema.items() if name != "$ref"}}


def _named(schema: Schema) -> str:
    return str(schema.get("format") or schema.get("type") or "value")


def _names(schema: Schema) -> str:
    return ", ".join(_named(option) if "$ref" not in option else option["$ref"] for option in schema["anyOf"])


def _type_of(value: Any) -> str:
    return {bool: "boolean", int: "integer", float: "number", type(None): "null"}.get(type(value), "object")
