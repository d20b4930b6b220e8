"""The word list finds its words in prose and in nothing else, and an allowance only goes down."""

from __future__ import annotations

import pytest

from tests.english import Finding, findings, lowered, verdict

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
    found = {"a.md": findings("a.md", "\nThe service is told.\n")}
    assert verdict(found, {})[0] == "a.md:2: 'told': write return, report, state, specify"


def test_a_word_more_than_allowed_fails_and_lowering_never_raises() -> None:
    one = Finding(1, "told", "state")
    found = {"more.md": [one, one], "same.md": [one], "less.md": [one], "new.md": [one]}
    allowed = {"more.md": 1, "same.md": 1, "less.md": 2, "gone.md": 3}
    assert {line.partition(":")[0] for line in verdict(found, allowed)} == {"more.md", "new.md"}
    assert {line.partition(":")[0] for line in verdict(found, allowed, exact=True)} == {
        "more.md", "less.md", "new.md", "gone.md",
    }  # fmt: skip
    assert lowered(found, allowed) == {"less.md": 1, "more.md": 1, "same.md": 1}
    assert verdict({"same.md": [one]}, {"same.md": 1}, exact=True) == []
