"""The moment that a database, or a part of it, is restored to: `--at`, `--at-lsn`, `--before-transaction`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from coffre_cli.asked_time import asked_time, has_offset
from coffre_cli.screen import remark

AtOption = Annotated[
    str | None,
    typer.Option(
        "--at",
        metavar="TIME",
        help="As it was at this time, by the journal: 2026-11-27 14:29:30+01, '2026-11-27 14:29:30 Europe/Paris', or "
        "14:29 of today. In UTC without a zone.",
    ),
]
AtLsnOption = Annotated[
    str | None, typer.Option("--at-lsn", metavar="LSN", help="As it was at this position of the server's WAL: 16/B374.")
]
BeforeTransactionOption = Annotated[
    int | None,
    typer.Option("--before-transaction", metavar="XID", min=3, help="As it was before this transaction's commit."),
]


def moment_of(at: str | None, at_lsn: str | None, before_transaction: int | None) -> dict[str, object] | None:
    """Return the moment that was asked for, as the field of an event; None: the backup itself is meant.

    Raises
    ------
    typer.BadParameter
        Several were given, or the text is no time.
    """
    given = {"time": at, "lsn": at_lsn, "before_transaction": before_transaction}
    moment: dict[str, object] = {name: value for name, value in given.items() if value is not None}
    if len(moment) > 1:
        raise typer.BadParameter("give one of --at, --at-lsn and --before-transaction")
    if at is not None:
        moment["time"] = _time(at)
    return moment or None


def _time(text: str) -> datetime:
    try:
        time = asked_time(text, datetime.now(UTC))
    except ValueError as error:
        raise typer.BadParameter(f"--at: {error}") from error
    if not has_offset(text):
        remark(f"--at {text}: {time:%Y-%m-%d %H:%M:%S.%f} UTC is meant.")
    return time
