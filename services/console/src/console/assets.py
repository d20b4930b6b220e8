"""The files of the pages: templates, style sheet, scripts, icon. The name of a file has a hash of its content, so a browser keeps it."""

from __future__ import annotations

import hashlib
from functools import cached_property
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
KINDS: Final = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}


class Asset(NamedTuple):
    content: bytes
    media_type: str


class Assets:
    @cached_property
    def names(self) -> dict[str, str]:
        """Returns the address of each file by its name, e.g. `console.css` -> `/assets/console.3f2a91c0.css`."""
        return {path.name: f"/assets/{_hashed(path)}" for path in self._files}

    @cached_property
    def by_hashed_name(self) -> dict[str, Asset]:
        return {_hashed(path): Asset(path.read_bytes(), KINDS[path.suffix]) for path in self._files}

    @cached_property
    def _files(self) -> list[Path]:
        return sorted(path for path in (HERE / "static").iterdir() if path.suffix in KINDS)


def _hashed(path: Path) -> str:
    return f"{path.stem}.{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}{path.suffix}"
