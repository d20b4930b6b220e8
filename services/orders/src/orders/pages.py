"""The tables of docs/actions.md, docs/exceptions.md and docs/statuses.md, made from the tables of the domain.

`python -m orders.pages docs` writes each between `<!-- <name> -->` and `<!-- end -->`; a test compares them.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from orders.domain.decisions.action import WhyNot
from orders.domain.decisions.actions import ACTIONS
from orders.domain.decisions.exceptions import KINDS, Choice
from orders.domain.state import transitions

ANSWERS: Final = {"refused": "refused with this code", "done": "success; nothing changes", "tried": "it is tried"}
ALWAYS: Final = {"": WhyNot("tried", "always possible")}
"""The row of an action that no state of an order prevents."""


def _table(columns: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    lines = [" | ".join(row) for row in (columns, *rows)]
    lines.insert(1, "|".join("---" for _ in columns))
    return "".join(f"| {line} |\n" if n != 1 else f"|{line}|\n" for n, line in enumerate(lines))


def actions() -> str:
    columns = ("action", "command", "scope", "`why_not`", "that is", "a request is answered")
    return _table(
        columns,
        (
            (f"`{action.name}`", f"`{action.message.TYPE}`", f"`{action.scope}`", code and f"`{code}`", why.detail, ANSWERS[why.answer])
            for action in ACTIONS.values()
            for code, why in (action.why_not or ALWAYS).items()
        ),
    )  # fmt: skip


def exceptions() -> str:
    def does(choice: Choice | None) -> str:
        return choice.does if choice is not None else "-"

    columns = ("code", "raised when", "`accept`", "`keep`", "ends otherwise by")
    return _table(
        columns,
        ((f"`{one.code}`", one.raised, does(one.accept), does(one.keep), one.otherwise) for one in KINDS.values()),
    )


def _transitions(table: Sequence[transitions.Transition]) -> str:
    def words(of: Sequence[str]) -> str:
        return ", ".join(f"`{word}`" for word in of)

    return _table(
        ("before", "event", "after", "when"),
        ((words(row.before), f"`{row.event.TYPE}`", words(row.after), row.about) for row in table),
    )


PAGES: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "actions.md": {"actions": actions},
    "exceptions.md": {"exceptions": exceptions},
    "statuses.md": {
        "order": lambda: _transitions(transitions.ORDER),
        "fulfillment": lambda: _transitions(transitions.FULFILLMENT),
    },
}


def filled(name: str, page: str) -> str:
    """Returns the page `name` with its tables as the domain has them now."""
    for table, made in PAGES[name].items():
        place = re.compile(rf"(?<=<!-- {table} -->\n).*?(?=<!-- end -->)", re.DOTALL)
        if place.search(page) is None:
            raise ValueError(f"docs/{name} has no place for the table {table}")
        page = place.sub(made().replace("\\", r"\\"), page)
    return page


if __name__ == "__main__":
    for name in PAGES:
        path = Path(sys.argv[1]) / name
        path.write_text(filled(name, path.read_text("utf-8")), "utf-8")
