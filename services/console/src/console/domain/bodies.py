"""Bodies of messages as a person reads and edits them: JSON with indents, bounded, and the difference between two by lines."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Any, Final, Literal, NamedTuple

SHOWN_CHARACTERS_MAX: Final = 20_000
EDIT_CHARACTERS_MAX: Final = 100_000
"""A form sends a character as three, and a request has at most 1 MiB."""
CONTEXT_LINES: Final = 3


def pretty(text: str) -> str:
    """Returns JSON with an indent of two, its names in their order; the text as it is if that would lose something."""
    try:
        value = json.loads(text, object_pairs_hook=_named_once, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text
    return json.dumps(value, indent=2, ensure_ascii=False)


def why_not_json(text: str) -> str:
    """Returns where a text stops being JSON, and why; empty if it is JSON."""
    try:
        json.loads(text, parse_constant=_refused)
    except json.JSONDecodeError as error:
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    except (ValueError, RecursionError) as error:
        return str(error)
    return ""


def _named_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for an object with a name twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("an object has a name twice")
    return found


def _refused(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


class Bounded(NamedTuple):
    text: str
    characters_left_out: int


def bounded(text: str, characters_max: int = SHOWN_CHARACTERS_MAX) -> Bounded:
    """Returns the beginning of a text, up to the end of a line if one is near."""
    if len(text) <= characters_max:
        return Bounded(text, 0)
    end = text.rfind("\n", characters_max // 2, characters_max)
    shown = text[: end if end > 0 else characters_max]
    return Bounded(shown, len(text) - len(shown))


class Line(NamedTuple):
    kind: Literal["same", "removed", "added", "gap"]
    """`gap`: equal lines that are left out; `text` is how many."""
    text: str
    number: int | None
    """Position in its text: a removed line is in the text before, every other in the text after."""


def difference(before: str, after: str) -> Sequence[Line]:
    """Returns the lines that differ, each with CONTEXT_LINES equal ones around it; nothing if all are equal."""
    old, new = before.split("\n"), after.split("\n")
    lines: list[Line] = []
    seen = 0
    for group in SequenceMatcher(None, old, new).get_grouped_opcodes(CONTEXT_LINES):
        lines += _gap(group[0][3] - seen)
        for tag, old_from, old_to, new_from, new_to in group:
            if tag == "equal":
                lines += [Line("same", new[n], n + 1) for n in range(new_from, new_to)]
                continue
            lines += [Line("removed", old[n], n + 1) for n in range(old_from, old_to)]
            lines += [Line("added", new[n], n + 1) for n in range(new_from, new_to)]
        seen = group[-1][4]
    return lines + _gap(len(new) - seen) if lines else []


def _gap(count: int) -> list[Line]:
    return [Line("gap", str(count), None)] if count else []
