"""The table of docs/exceptions.md, made from `domain.exceptions`.

`python -m orders.exceptions_doc docs/exceptions.md` writes it between `<!-- exceptions -->` and `<!-- end -->`; a test checks it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from orders.domain.exceptions import KINDS, Choice

PLACE = re.compile(r"(<!-- exceptions -->\n).*?(<!-- end -->)", re.DOTALL)


def table() -> str:
    lines = ["| code | raised when | `accept` | `keep` | ends otherwise by |", "|---|---|---|---|---|"]
    lines += [
        f"| `{kind.code}` | {kind.raised} | {_does(kind.accept)} | {_does(kind.keep)} | {kind.otherwise} |"
        for kind in KINDS.values()
    ]
    return "\n".join(lines) + "\n"


def _does(choice: Choice | None) -> str:
    return choice.does if choice is not None else "-"


def filled(page: str) -> str:
    return PLACE.sub(lambda place: place[1] + table() + place[2], page)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text("utf-8")), "utf-8")
