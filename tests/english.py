"""The word list of our prose, checked by `make lint`: docs, docstrings, comments and texts in code use the field's words.

python -m tests.english    prints each finding with its replacement; exit status 1 if there is one
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
NOT_CHECKED: Final = ("tests/english.py", "tests/test_english.py")
"""The list and its test name the words."""

REPLACEMENTS: Final[Mapping[str, str]] = {
    r"\b(?:tell|tells|telling|told)\b": "return, report, state, specify",
    r"\b(?:say|says|saying|said)\b": "return, state",
    r"\bwish(?:es|ed|ing)?\b": "request, command",
    r"\bobey(?:s|ed|ing)?\b": "handle",
    r"\b(?:hear|hears|heard|hearing)\b": "receive",
    r"\b(?:know|knows|known|knowing|knew)\b": "is recorded, is cached, exists",
    r"\bforg[eo]t(?:s|ten|ting)?\b": "delete, evict",
    r"\blook(?:s|ed|ing)?\b": "poll, query, read",
    r"\b(?:stand|stands|standing|stood)\b": "is stored, is",
    r"\b(?:come|comes|coming|came)\s+again\b": "is redelivered",
    r"\b(?:take|takes|taken|taking|took)\s+up\b": "start, resume",
    r"\b(?:lead|leads|leading|led)\s+to\b": "cause",
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\bat\s+rest\b": "settled",
    r"\b(?:some|no|any)body\b": "the holder, no process, a person",
    r"\bkept\b": "stored, retained",
    r"\bwhatever\b": "the condition itself",
    r"\bso\s+long\b": "for this time, until",
    r"(?:^|(?<=[.:;!?]\s))(?-i:Of)\b": "the subject first",
}
WORDS: Final = tuple((re.compile(word, re.I | re.M), instead) for word, instead in REPLACEMENTS.items())
EXCEPTIONS: Final = re.compile(
    r"\bknown\s+(?:issue|limitation)s?\b|\bwell-known\b|\blook(?:s|ed|ing)?[- ](?:up|ahead|behind)\b|\bstand-?alone\b"
    r"|\bso\s+long\s+as\b|\bencrypt\w+\s+at\s+rest\b",
    re.I,
)
"""The field's own uses of these words."""
CODE: Final = re.compile(r"``.+?``|`[^`\n]+`", re.S)
COMMENT_SIGN: Final = {".sql": "--", ".yml": "#", ".yaml": "#", ".toml": "#", "": "#"}
"""Suffix -> what begins a comment. No suffix: Makefile, Dockerfile."""


class Finding(NamedTuple):
    line: int
    word: str
    instead: str


class Text(NamedTuple):
    line: int
    """Of its first character, from 1."""
    text: str


def findings(path: str, content: str) -> list[Finding]:
    """Every word of the list in the prose of a file, by line."""
    return sorted(
        Finding(part.line + part.text.count("\n", 0, match.start()), match[0], instead)
        for part in prose(path, content)
        for word, instead in WORDS
        for match in word.finditer(_without_exceptions(part.text))
    )


def prose(path: str, content: str) -> Iterator[Text]:
    """What a person reads in a file: all of a Markdown page but its code; comments, docstrings and texts of a program."""
    suffix = Path(path).suffix
    if suffix == ".md":
        yield Text(1, re.sub(r"^```.*?^```|\]\([^)\n]*\)", _blank, content, flags=re.M | re.S))
    elif suffix == ".py":
        yield from _strings(content)
        for token in tokenize.generate_tokens(io.StringIO(content).readline):
            if token.type == tokenize.COMMENT:
                yield Text(token.start[0], token.string.lstrip("# "))
    elif suffix in COMMENT_SIGN:
        for number, line in enumerate(content.splitlines(), 1):
            yield Text(number, line.partition(COMMENT_SIGN[suffix])[2].strip())


def _strings(content: str) -> Iterator[Text]:
    """String literals of at least two words: docstrings, error and log texts, help. `|` replaces the values of an f-string."""
    nodes = list(ast.walk(ast.parse(content)))
    parts = {id(part) for node in nodes if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in nodes:
        if isinstance(node, ast.JoinedStr):
            text = "".join(part.value if isinstance(part, ast.Constant) else "|" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            text = node.value
        else:
            continue
        if " " in text.strip():
            yield Text(node.lineno, text)


def _without_exceptions(text: str) -> str:
    return EXCEPTIONS.sub(_blank, CODE.sub(_blank, text))


def _blank(match: re.Match[str]) -> str:
    """As many lines and characters, none of them part of a word."""
    return re.sub(r"[^\n]", "|", match[0])


def found_in_tree() -> dict[str, list[Finding]]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    paths = (path for path in listed.splitlines() if path not in NOT_CHECKED and (ROOT / path).is_file())
    readable = (path for path in paths if Path(path).suffix in (".md", ".py", *COMMENT_SIGN))
    found = {path: findings(path, (ROOT / path).read_text(encoding="utf-8")) for path in readable}
    return {path: here for path, here in found.items() if here}


def main() -> int:
    found = found_in_tree()
    for path, here in sorted(found.items()):
        for one in here:
            print(f"{path}:{one.line}: '{one.word}': write {one.instead}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
