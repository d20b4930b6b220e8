"""Words that an order is found by, and the queries that find them."""

from __future__ import annotations

import pytest

from console.domain import words
from console.domain.row import Words


def test_values_are_compared_without_case_accents_and_outer_blanks() -> None:
    assert words.whole([" MÜG-Red ", "mug-red", None, ""]) == ("mug-red",)
    assert words.parts(["Ánna-Maria O'Brien"]) == ("anna", "maria", "o", "brien")


def test_a_personal_word_has_a_weight_and_a_word_that_is_also_plain_has_none() -> None:
    found = words.vector(Words(orders=("mug",), buyer=("anna", "mug"), tracking=("1z",)))
    assert found == "'mug' '1z':1A 'anna':1A"


def fits(text: str, *, personal: bool = True) -> list[str]:
    return [term.fits for term in words.terms(text, personal=personal)]


def test_a_search_without_the_right_to_personal_data_leaves_personal_words_out() -> None:
    assert fits("anna mug") == ["(('anna':*))", "(('mug':*))"]
    assert fits("anna", personal=False) == ["(('anna':*BCD))"]


@pytest.mark.parametrize("text", ["it's", "a\\b", "'", "& | ! ( ) :*", "\\", "''", "x:*A"])
def test_no_text_becomes_an_operator_of_a_query(text: str) -> None:
    """What is between quotes is a word, with quotes and backslashes doubled."""
    for query in (query for term in words.terms(text, personal=True) for query in term):
        outside = "".join(query.split("'")[::2])
        assert set(outside) <= set("()|& :*BCD"), query


def test_a_search_of_blanks_has_no_word() -> None:
    assert words.terms("  \t ", personal=True) == []


def test_only_the_last_piece_of_a_word_with_marks_in_it_also_finds_longer_ones() -> None:
    """Half a million SKUs may begin with the first piece of `sku-123`."""
    assert fits("sku-123") == ["(('sku-123':*) | ('sku' & '123':*))"]
    assert fits("O'Brien") == ["(('o''brien':*) | ('o' & 'brien':*))"]


@pytest.mark.parametrize("personal", [True, False])
def test_an_index_reads_every_longer_word_before_it_knows_what_the_order_has_besides(personal: bool) -> None:
    [term] = words.terms("sku-123", personal=personal)
    assert term.read == "(('sku-123':*) | ('123':*))"
