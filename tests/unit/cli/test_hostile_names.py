"""Whatever a name holds: no renderer sends a character that steers a terminal, forges a line, or cannot be seen."""

from __future__ import annotations

import io
import json
from html import unescape
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from tests.unit.model.test_names import UNSEEN
from tests.unit.operations.drill.test_report_page import drilled

from coffre.alerts.alert import AlertKind
from coffre.alerts.message import Message
from coffre.alerts.publish import Publisher
from coffre.alerts.slack import payload_of
from coffre.alerts.wording import alert_of, body_of, bullets
from coffre.model.backup import Failure
from coffre.model.drill_report import TableProof, Verdict
from coffre.model.errors import CoffreError
from coffre.model.manifest import Entry, EntryKind
from coffre.model.names import shown, visible
from coffre.operations.browse.diff import Change, Difference
from coffre.operations.drill.report_page import page_of
from coffre_cli import screen
from coffre_cli.commands.backups import diff
from coffre_cli.commands.backups import ls_cat as contents

names = st.lists(st.sampled_from([*UNSEEN, "a", " ", "[red]", "é"]), max_size=12).map("".join)


class Terminal:
    """Everything that is printed, on a wide terminal or into a pipe."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, is_terminal: bool) -> None:
        self._file = io.StringIO()
        console = Console(file=self._file, force_terminal=is_terminal, color_system=None, width=4000, highlight=False)
        for name in ("console", "error_console"):
            monkeypatch.setattr(screen, name, console)

    def lines(self) -> list[str]:
        said = self._file.getvalue()
        self._file.seek(0)
        self._file.truncate()
        return said.split("\n")[:-1]


def is_seen(text: str) -> bool:
    return visible(text) == text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_no_name_reaches_a_terminal_as_it_is(monkeypatch: pytest.MonkeyPatch, is_terminal: bool) -> None:
    terminal = Terminal(monkeypatch, is_terminal=is_terminal)

    @given(names)
    def check(name: str) -> None:
        screen.say(f"Restored {name}.")
        screen.remark(f"Note: {name}")
        screen.show_error(CoffreError(f"{name} is gone", hint=f"Look for {name}"))
        screen.print_table(["TABLE", "ROWS"], [[shown("public", name), "1"]], right=["ROWS"])
        lines = terminal.lines()
        assert all(map(is_seen, lines))
        assert len(lines) == 6
        screen.show_failure(Failure(code="X", message=f"{name} is gone", hint=name))
        screen.show_error(CoffreError("x", detail=name))
        screen.say_command(f"DROP TABLE {shown('public', name)};")
        screen.print_json({name: name})
        assert all(is_seen(line.replace("\t", " ")) for line in terminal.lines())

    check()


@given(names)
def test_no_line_of_a_listing_has_a_name_as_it_is(name: str) -> None:
    entry = Entry(name=f"files/{name}", kind=EntryKind.OBJECT, size=1, sha256="0" * 64)
    change = Difference(name=name, change=Change.CHANGED, what=("content",), size_before=1, size_after=2)

    assert is_seen(contents._line(entry, ""))
    assert is_seen(diff._line(change))


@given(names)
def test_no_message_has_a_name_as_it_is(name: str) -> None:
    """Mail, chats and their notifications; a line of its own can only be one of the alert's own."""
    published: list[dict[str, Any]] = []

    class Topic:
        def publish(self, **message: Any) -> None:
            published.append(message)

    what = "\n".join(["Tables differ:", *bullets([f"table {name}"])])
    body = body_of(what, why=str(CoffreError(f"{name} x")))
    alert = alert_of(AlertKind.BACKUP_FAILED, "shop", f"Backup of {name}", body)
    Publisher(lambda: Topic(), "arn").publish(alert)  # type: ignore[arg-type, return-value]
    [mail] = published
    raw = Message(kind="X", severity="info", target="shop", state="new", subject=name, text=f"{name}\n    {name}")
    slack = json.dumps(payload_of(raw), ensure_ascii=False)

    assert is_seen(mail["Subject"])
    assert visible(mail["Message"], breaks=True) == mail["Message"]
    assert len([line for line in mail["Message"].splitlines() if line.startswith("- ")]) == 1
    assert is_seen(json.dumps(slack))


@given(names)
def test_no_page_has_a_name_as_it_is(name: str) -> None:
    table = TableProof(
        table=name, verdict=Verdict.DIFFERENT, rows=1, rows_found=1, size_bytes=1, slices=1, slices_equal=0, sha256=None
    )
    page = page_of(drilled(tables=(table,), problems=(name,), exceptions=(name,), source_version=name))

    assert visible(unescape(page), breaks=True) == unescape(page)
    assert f">{visible(name)}" in unescape(page)


def test_an_error_has_no_name_as_it_is_wherever_it_goes() -> None:
    error = CoffreError("table a\nb\u202e", detail="one\ntwo\x1b[2J", hint="drop \u200b")
    error.add_note("of \u2066x")

    assert str(error) == "table a\\nb\\u202e [COFFRE_ERROR]\n  one\ntwo\\x1b[2J\n  What to do: drop \\u200b"
    assert Failure.of(error).message == "table a\\nb\\u202e one\ntwo\\x1b[2J of \\u2066x"
