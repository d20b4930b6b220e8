"""What an order is found by: words of the buyer, numbers and ids, as lexemes of PostgreSQL's full text type.

A personal lexeme has the weight A, the others have none: a search of a person who may not see personal data leaves A out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

from console.domain.row import Words

WORDS_MAX: Final = 500
"""Words of each kind that are searched of an order; more are left out."""
WORD_CHARACTERS_MAX: Final = 60
"""A longer word is found by its beginning."""
PREFIX_CHARACTERS_MIN: Final = 3
"""A shorter word of a search is looked up as it is: too many words begin with it."""
TERMS_MAX: Final = 10
"""Words of a search; further ones are ignored."""
_WORD: Final = re.compile(r"\w+")


def folded(text: str) -> str:
    """Returns the text as it is compared: without case, accents and outer blanks."""
    return _plain(text).strip()[:WORD_CHARACTERS_MAX]


def whole(values: Iterable[str | None]) -> tuple[str, ...]:
    """Returns values that are searched as they are, like numbers: each once, in their order."""
    return tuple(dict.fromkeys(word for value in values if value and (word := folded(value))))[:WORDS_MAX]


def parts(values: Iterable[str | None]) -> tuple[str, ...]:
    """Returns the words of texts, like names."""
    found = (part[:WORD_CHARACTERS_MAX] for value in values if value for part in _WORD.findall(_plain(value)))
    return tuple(dict.fromkeys(found))[:WORDS_MAX]


def vector(words: Words) -> str:
    """Returns the literal of a `tsvector`."""
    plain = {*words.orders, *words.reference, *words.documents}
    personal = {*words.buyer, *words.tracking} - plain
    return " ".join([*map(_quoted, sorted(plain)), *(f"{_quoted(word)}:1A" for word in sorted(personal))])


def query(text: str, *, personal: bool) -> str | None:
    """Returns a `tsquery` for orders that have every word of a search; None if it has no word."""
    found = [one for term in text.split()[:TERMS_MAX] if (one := _term(term, personal))]
    return " & ".join(found) or None


def _term(term: str, personal: bool) -> str:
    as_it_is, pieces = folded(term), list(_pieces(term))
    alternatives = [_lexeme(as_it_is, personal)] if as_it_is else []
    if pieces and pieces != [as_it_is]:
        # Only the last piece may be longer: every SKU begins with the first piece of `sku-123`.
        first = (_lexeme(piece, personal, longer=False) for piece in pieces[:-1])
        alternatives.append(" & ".join([*first, _lexeme(pieces[-1], personal)]))
    return f"({' | '.join(f'({one})' for one in alternatives)})" if alternatives else ""


def _pieces(term: str) -> Iterator[str]:
    return (piece[:WORD_CHARACTERS_MAX] for piece in _WORD.findall(_plain(term)))


def _lexeme(word: str, personal: bool, *, longer: bool = True) -> str:
    marks = ("*" if longer and len(word) >= PREFIX_CHARACTERS_MIN else "") + ("" if personal else "BCD")
    return f"{_quoted(word)}:{marks}" if marks else _quoted(word)


def _plain(text: str) -> str:
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return text.casefold()


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"
