"""The picture in the README shows what the command prints."""

from __future__ import annotations

from tests.unit.docs.terminal_picture import PICTURE, picture


def test_the_picture_shows_what_status_prints() -> None:
    assert PICTURE.read_text(encoding="utf-8") == picture(), "write it: python -m tests.unit.docs.terminal_picture"
