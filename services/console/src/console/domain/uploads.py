"""Forms with files, as browsers send them: `multipart/form-data` (RFC 7578)."""

from __future__ import annotations

import re
from typing import Final

MULTIPART: Final = "multipart/form-data"
_BOUNDARY: Final = re.compile(r'boundary="?([0-9A-Za-z\'()+_,./:=? -]{1,70})"?')
_NAME: Final = re.compile(rb'^content-disposition:[^\r\n]*?;[ \t]*name="([^"\r\n]*)"', re.I | re.M)


def has_files(content_type: str) -> bool:
    """Returns whether a body of this type is such a form."""
    return content_type.partition(";")[0].strip().lower() == MULTIPART


def parts(content_type: str, body: bytes, fields_max: int) -> dict[str, bytes]:
    """Returns the content of each field; of a repeated one the last. Raises ValueError for what no browser sends."""
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise ValueError("the form names no boundary")
    pieces = (b"\r\n" + body).split(b"\r\n--" + found[1].strip().encode())
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise ValueError("the form has no end")
    if len(pieces) - 2 > fields_max:
        raise ValueError(f"it has more than {fields_max} fields")
    return dict(_part(piece) for piece in pieces[1:-1])


def _part(piece: bytes) -> tuple[str, bytes]:
    head, blank, content = piece.partition(b"\r\n\r\n")
    name = _NAME.search(head.strip())
    if name is None or not blank:
        raise ValueError("a field of the form has no name")
    return name[1].decode("utf-8", "replace").replace("\0", ""), content
