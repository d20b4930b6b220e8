"""Forms of HTML pages, for tests that send what a browser would."""

from __future__ import annotations

import re
from html import unescape


def fields_of(page: str, action: str) -> dict[str, str]:
    """Returns the hidden fields and the texts of the form with this action, as the page has them."""
    found = re.search(rf'<form[^>]*action="{re.escape(action)}".*?</form>', page, re.S)
    assert found is not None, f"no form of the page has the action {action}"
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', found[0])
    texts = re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n(.*?)</textarea>', found[0], re.S)
    return {name: unescape(text) for name, text in [*fields, *texts]}
