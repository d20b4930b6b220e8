"""Forms with files: what browsers send is read byte for byte, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.uploads import has_files, parts

BOUNDARY = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
TYPE = f"multipart/form-data; boundary={BOUNDARY}"


def body(fields: dict[str, bytes], files: frozenset[str] = frozenset()) -> bytes:
    """A form as Chromium writes it."""
    found = b""
    for name, content in fields.items():
        more = '; filename="a.csv"\r\nContent-Type: text/csv' if name in files else ""
        found += (
            f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode() + content + b"\r\n"
        )
    return found + f"--{BOUNDARY}--\r\n".encode()


@given(st.dictionaries(st.from_regex("[a-z_]{1,9}", fullmatch=True), st.binary(max_size=200), max_size=5))
def test_every_field_is_read_as_it_was_sent(fields: dict[str, bytes]) -> None:
    assert parts(TYPE, body(fields, frozenset(list(fields)[:1])), 20) == fields


@given(st.binary(max_size=300), st.text(max_size=80))
def test_what_no_browser_sends_is_refused(content: bytes, content_type: str) -> None:
    for kind, one in ((TYPE, content), (content_type, body({"a": b"b"}))):
        with pytest.raises(ValueError, match=r"the form|a field"):
            parts(kind, one, 20)


def test_a_form_with_too_many_fields_is_refused() -> None:
    with pytest.raises(ValueError, match="more than 3 fields"):
        parts(TYPE, body({f"a{n}": b"" for n in range(4)}), 3)
    with pytest.raises(ValueError, match="no name"):
        parts(TYPE, f"--{BOUNDARY}\r\n\r\nx\r\n--{BOUNDARY}--\r\n".encode(), 3)


def test_only_a_form_of_its_type_has_files() -> None:
    assert has_files(TYPE) and has_files("Multipart/Form-Data;boundary=x")
    assert not has_files("application/x-www-form-urlencoded") and not has_files("")
