"""The closed codes of payments: each is documented, and each is named by a test that reaches it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from contracts.base import Event
from contracts.registry import MESSAGES
from payments.api import PROBLEMS
from payments.api.settlements import ImportedShown

ROOT = Path(__file__).parents[3]
IMPORTS = {code for code in get_args(ImportedShown.model_fields["code"].annotation) if code}
"""Codes with which an import is answered 200."""
EVENTS = {
    code
    for kind, model in MESSAGES.items()
    if kind.startswith("payments.") and issubclass(model, Event) and (field := model.model_fields.get("code"))
    for code in get_args(field.annotation)
}
"""Codes with which events of payments state why a command was refused."""
PROMISED = {
    "currency_differs", "exceeds_capturable", "exceeds_refundable", "authorization_expired", "gateway_unknown", "credentials_missing",
    "signature_invalid", "statement_repeated", "statement_unbalanced", "gift_card_insufficient", "reference_ambiguous",
}  # fmt: skip


@cache
def _tests() -> str:
    here = Path(__file__)
    found = [path for folder in (here.parent, ROOT / "tests") for path in sorted(folder.rglob("*.py")) if path != here]
    return "\n".join(path.read_text("utf-8") for path in found)


@pytest.mark.parametrize("code", sorted({*PROBLEMS, *EVENTS, *IMPORTS}))
def test_every_code_is_reached_by_a_test(code: str) -> None:
    assert re.search(rf"[\"'/]{code}[\"']", _tests()), "no test expects it: it may be impossible, or wrong"


def test_the_codes_of_wrong_input_exist_and_are_on_the_page_of_errors() -> None:
    assert {*PROBLEMS, *EVENTS, *IMPORTS} >= PROMISED
    page = (ROOT / "docs/errors.md").read_text("utf-8")
    missing = {code for code in {*PROMISED, *PROBLEMS, *IMPORTS} if f"`{code}`" not in page}
    assert not missing, missing
