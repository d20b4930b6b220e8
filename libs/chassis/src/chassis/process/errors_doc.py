"""The tables of docs/errors.md, made from the problems that services declare.

`python -m chassis.process.errors_doc docs/errors.md` fills each `<!-- problems module:NAME -->` ... `<!-- end -->`; a test
compares them.
"""

from __future__ import annotations

import re
import sys
from importlib import import_module
from pathlib import Path
from typing import Final

from chassis.declare.app import Problems

PLACE: Final = re.compile(r"(<!-- problems (\S+):(\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(problems: Problems) -> str:
    """A row per code, by status and code."""
    rows = sorted(problems.items(), key=lambda one: (one[1].status, one[0]))
    lines = ["| code | status | title | cause | what to do |", "|---|---|---|---|---|"]
    lines += [
        f"| `{code}` | {one.status} | {_cell(one.title)} | {_cell(one.why)} | {_cell(one.remedy)} |"
        for code, one in rows
    ]
    return "\n".join(lines) + "\n"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def filled(page: str) -> str:
    """Returns the page with its tables made anew."""

    def one(found: re.Match[str]) -> str:
        begin, module, name, end = found.groups()
        return begin + table(getattr(import_module(module), name)) + end

    return PLACE.sub(one, page)


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(filled(path.read_text("utf-8")), "utf-8")
