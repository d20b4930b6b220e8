"""The word list finds its words in prose and in nothing else."""

from __future__ import annotations

import pytest

from tests.english import Finding, findings

PYTHON = '''"""Nobody is told.

Whatever comes
again stands here.
"""

known = {"told": 1}  # so long


def kept(told: str) -> str:
    """The database forgets."""
    raise ValueError(f"{told} says no")
'''


def words(path: str, content: str) -> list[tuple[int, str]]:
    return [(one.line, one.word.replace("\n", " ")) for one in findings(path, content)]


def test_docstrings_comments_and_texts_of_a_program_are_prose_and_its_names_are_not() -> None:
    assert words("a.py", PYTHON) == [
        (1, "Nobody"), (1, "told"), (3, "Whatever"), (3, "comes again"), (4, "stands"), (7, "so long"), (11, "forgets"),
        (12, "says"),
    ]  # fmt: skip


def test_code_and_link_targets_of_a_page_are_not_prose() -> None:
    page = "It says `told` and [stands](known.md).\n\n```sh\nlook\n```\nOf these, one is at\nrest. A lot of them.\n"
    assert words("a.md", page) == [(1, "says"), (1, "stands"), (6, "Of"), (6, "at rest")]


@pytest.mark.parametrize(("path", "sign"), [("Makefile", "#"), ("a.yml", "#"), ("a.sql", "--")])
def test_comments_of_other_files_are_prose(path: str, sign: str) -> None:
    assert words(path, f"told: 1\nx {sign} it is told\n") == [(2, "told")]


@pytest.mark.parametrize(
    "text",
    ["A known issue.", "The index looks up a row.", "A standalone broker.", "unknown", "understand", "withstand"],
)
def test_the_fields_own_uses_are_exceptions(text: str) -> None:
    assert findings("a.md", text) == []


def test_a_finding_names_its_place_and_the_replacement() -> None:
    assert findings("a.md", "\nThe service is told.\n") == [Finding(2, "told", "return, report, state, specify")]
