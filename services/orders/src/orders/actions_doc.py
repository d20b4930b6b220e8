"""The table of docs/actions.md, made from `domain.actions`.

`python -m orders.actions_doc docs/actions.md` writes it between `<!-- actions -->` and `<!-- end -->`; a test checks it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from orders.domain.actions import ACTIONS

PLACE = re.compile(r"(<!-- actions -->\n).*?(<!-- end -->)", re.DOTALL)
ANSWERS = {"refused": "refused with this code", "done": "success; nothing changes", "tried": "it is tried"}


def table() -> str:
    lines = ["| action | command | scope | `why_not` | that is | a request is answered |", "|---|---|---|---|---|---|"]
    lines += [
        f"| `{action.name}` | `{action.message.TYPE}` | `{action.scope}` | `{code}` | {why.detail} | {ANSWERS[why.answer]} |"
        for action in ACTIONS.values()
        for code, why in action.why_not.items()
    ]
    return "\n".join(lines) + "\n"


def filled(page: str) -> str:
    return PLACE.sub(lambda place: place[1] + table() + place[2], page)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text("utf-8")), "utf-8")
