"""Reads the links and forms of a page, as a browser without JavaScript does, so that a test follows and sends what is there."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Form:
    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    """What is sent if nothing is entered."""
    buttons: list[str] = field(default_factory=list)
    """The words on them."""


class Parsed(HTMLParser):
    """`links`: text -> address, of the last link with the text; `forms`: in their order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: dict[str, str] = {}
        self.forms: list[Form] = []
        self._form: Form | None = None
        self._select = ""
        self._link: str | None = None
        self._button = False
        self._text = ""
        self.feed(text)

    def form(self, button: str) -> Form:
        """Returns the form with a button of these words."""
        return next(one for one in self.forms if button in one.buttons)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self._form = Form(given.get("action") or "", (given.get("method") or "get").upper())
            self.forms.append(self._form)
        elif tag == "a":
            self._link, self._text = given.get("href") or "", ""
        elif tag == "button":
            self._button, self._text = True, ""
        elif self._form is not None:
            self._enter(self._form, tag, given)

    def _enter(self, form: Form, tag: str, given: dict[str, str | None]) -> None:
        name = given.get("name") or ""
        if tag == "select":
            self._select = name
        elif tag == "option" and self._select:
            if "selected" in given or self._select not in form.fields:
                form.fields[self._select] = given.get("value") or ""
        elif tag == "input" and name and (given.get("type") != "checkbox" or "checked" in given):
            form.fields[name] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._link is not None:
            self.links[" ".join(self._text.split())], self._link = self._link, None
        elif tag == "button" and self._button:
            self._button = False
            if self._form is not None:
                self._form.buttons.append(" ".join(self._text.split()))
        elif tag == "form":
            self._form = None
        elif tag == "select":
            self._select = ""
