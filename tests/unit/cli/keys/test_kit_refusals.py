"""Which change of a journal the server has refused, as the recovery kit finds it."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from coffre_cli.commands.keys.kit import restore

PRICE, VIEW = ("shop", "price"), ("shop", "view")


def test_changes_without_a_statement_hide_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Given rows of a materialized view behind the refused change, more than places of statements are kept."""
    sent = list[bytes]()

    class Database:
        def refusal(self, chunks: Iterable[bytes], *_: str) -> bytes | None:
            sent[:] = list(chunks)
            is_first = not any(b"set_config" in chunk for chunk in sent)
            line = b"".join(sent[:1]).count(b"\n") + 1
            return b"psql:<stdin>:%d: ERROR:  no function\n" % line if is_first else None

        def bytes_of(self, text: str) -> bytes:
            return text.encode()

    class Replay:
        def __init__(self, _: Database) -> None: ...

        def statement(self, line: tuple[Any, str]) -> tuple[Any, str]:
            return line

    def changes(_: Path) -> Iterator[tuple[Any, str]]:
        yield PRICE, "INSERT INTO shop.price VALUES (1);\n"
        yield from itertools.repeat((VIEW, ""), 100_001)

    asked = list[Any]()
    monkeypatch.setattr(restore, "Replay", Replay)
    monkeypatch.setattr(restore, "set_sequences", lambda *_: None)

    def paths_of(_database: Database, _content: dict[str, Any], table: tuple[str, str]) -> list[str]:
        asked.append(table)
        return ["shop"]

    monkeypatch.setattr(restore, "paths_of", paths_of)
    backup = SimpleNamespace(manifest={"content": {}})
    journal: Any = SimpleNamespace(
        backup=backup, changes=changes, sequences=[], at=None, until="later", transactions=1, left_out=[]
    )

    restore.apply_journal(Database(), journal, tmp_path)  # type: ignore[arg-type]

    assert asked == [PRICE]
    assert any(b"set_config" in chunk and b"shop.price" in chunk for chunk in sent)
