"""What an order is found by: words of the buyer, numbers and ids, as lexemes of PostgreSQL's full text type.

A personal lexeme has the weight A, the others have none: a search of a person who may not see personal data leaves A out.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

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


def joined(known: Iterable[str], more: Iterable[str]) -> tuple[str, ...]:
    """Returns words of both, each once, sorted: in which order they came makes no difference."""
    return tuple(sorted({*known, *more}))[:WORDS_MAX]


def parts(values: Iterable[str | None]) -> tuple[str, ...]:
    """Returns the words of texts, like names."""
    found = (part[:WORD_CHARACTERS_MAX] for value in values if value for part in _WORD.findall(_plain(value)))
    return tuple(dict.fromkeys(found))[:WORDS_MAX]


def vector(words: Words) -> str:
    """Returns the literal of a `tsvector`."""
    plain = {*words.orders, *words.reference, *words.documents}
    personal = {*words.buyer, *words.tracking} - plain
    return " ".join([*map(_quoted, sorted(plain)), *(f"{_quoted(word)}:1A" for word in sorted(personal))])


class Term(NamedTuple):
    """One word of a search, as `tsquery`."""

    fits: str
    """Orders that have it."""
    read: str
    """What an index reads to find them: every order with a word that begins as this one or its last piece, whoever asks."""


def terms(text: str, *, personal: bool) -> Sequence[Term]:
    """Returns the words of a search: an order has to have all of them."""
    return [one for term in text.split()[:TERMS_MAX] if (one := _term(term, personal)) is not None]


def _term(term: str, personal: bool) -> Term | None:
    as_it_is, pieces = folded(term), list(_pieces(term))
    fits = [_lexeme(as_it_is, personal)] if as_it_is else []
    read = [_lexeme(as_it_is, True)] if as_it_is else []
    if pieces and pieces != [as_it_is]:
        # Only the last piece may be longer: every SKU begins with the first piece of `sku-123`.
        first = (_lexeme(piece, personal, longer=False) for piece in pieces[:-1])
        fits.append(" & ".join([*first, _lexeme(pieces[-1], personal)]))
        read.append(_lexeme(pieces[-1], True))
    return Term(_any(fits), _any(read)) if fits else None


def _any(alternatives: Iterable[str]) -> str:
    return f"({' | '.join(f'({one})' for one in alternatives)})"


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
