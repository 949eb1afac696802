"""Which changes of a journal are executed again where the server has refused one of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from coffre_cli.commands.keys.kit import restore

PLAIN = ("shop", "plain")
CODED = [("shop", f"coded {number}") for number in range(10)]
CONTENT = {"search_paths": [{"role": "ada", "path": "app"}, {"path": "shop"}]}


class Server:
    """Takes changes of some tables under one search_path alone; it counts what it executes."""

    def __init__(self, **wanted: str) -> None:
        self.wanted, self.done, self.executed = wanted, list[str](), 0

    def refusal(self, lines: Iterable[bytes]) -> bytes | None:
        path, done = "?", list[str]()
        for line in b"".join(lines).decode().splitlines():
            if "set_config" in line:
                path = line.split("'")[3]
                continue
            self.executed += 1
            table = line.split('"')[3]
            if self.wanted.get(table, path) != path:
                return f"{table} under {path}".encode()
            done.append(line)
        self.done += done
        return None

    def bytes_of(self, text: str) -> bytes:
        return text.encode()

    def ask(self, _: str) -> list[str]:
        return ["ada"]


def change(table: tuple[str, str], number: int) -> tuple[tuple[str, str], str]:
    return table, f"INSERT INTO {restore.name(*table)} VALUES ({number});\n"


def applied(server: Any, ones: list[tuple[tuple[str, str], str]]) -> restore.Changes:
    changes = restore.Changes(server, CONTENT, server.refusal)
    for part in restore.parts_of(ones):
        changes.apply(part)
    return changes


def test_a_refused_table_costs_its_part_and_no_other_one() -> None:
    ones = [change(table, number) for number in range(500) for table in (PLAIN, *CODED)]
    server = Server(**{table[1]: "app" if table in CODED[:5] else "shop" for table in CODED})

    changes = applied(server, ones)

    assert "".join(server.done) == "".join(sql for _, sql in ones).replace("\n", "")
    assert changes.paths == {table: "app" if table in CODED[:5] else "shop" for table in CODED}
    assert server.executed < len(ones) + 3 * restore.MOST_CHANGES


def test_a_table_can_need_one_path_and_then_another() -> None:
    server = Server(coded="app")
    changes = applied(server, [change(("shop", "coded"), 1)])
    server.wanted["coded"] = restore.OURS
    changes.apply([change(PLAIN, 1), change(("shop", "coded"), 2)])

    assert [line.rpartition("(")[2] for line in server.done] == ["1);", "1);", "2);"]
    assert list(changes.taken) == [(("shop", "coded"), "app"), (("shop", "coded"), restore.OURS)]


def test_what_each_path_refuses_is_reported_as_under_the_first(capsys: pytest.CaptureFixture[str]) -> None:
    server = Server(coded="nowhere")

    with pytest.raises(SystemExit, match="the server refused"):
        applied(server, [change(PLAIN, 1), change(("shop", "coded"), 1), change(PLAIN, 2)])

    assert capsys.readouterr().err == "coded under pg_catalog\n"


def test_changes_without_a_statement_are_sent_with_none() -> None:
    parts = list(restore.parts_of([change(PLAIN, 1), *[(("shop", "view"), "")] * 5_000, change(PLAIN, 2)]))

    assert [len(part) for part in parts] == [2]
