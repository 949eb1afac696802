"""`coffre journal log`: what happened to the rows of a table, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.names import shown, visible
from coffre_cli.commands.backups.ls_cat import print_json_lines
from coffre_cli.commands.journal.reading import SinceOption, UntilOption, open_journal, period_of
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.private_key import IdentityOption
from coffre_cli.reading import FromOption
from coffre_cli.screen import console, remark
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.operations.restore_database.row_history import Happened
    from coffre.postgres.journal.changes import Row, Value

EXAMPLES = examples(
    "coffre journal log shop --table public.orders --since 2h",
    "coffre journal log shop --table orders --key 4711",
    "coffre journal log shop --table lines --key 4711 --key 2  # two columns",
    "coffre journal log shop --table orders --since 24h --json | jq '.[-1]'",
)
# Longer values are shown whole with --json.
_SHOWN = 60


def log(
    target: Annotated[str, typer.Argument(help="The database.")],
    table: Annotated[str, typer.Option("--table", metavar="NAME", help="The table; its schema if the name needs it.")],
    key: Annotated[
        list[str] | None,
        typer.Option("--key", metavar="VALUE", help="Only the row with this key; once for each column of the key."),
    ] = None,
    since: SinceOption = None,
    until: UntilOption = None,
    identity: IdentityOption = None,
    source: FromOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what happened to the rows of a table, or to one row, as the journal of its database has it.

    A line for each change, the newest last: the time of the commit in UTC, the transaction and its position in the WAL,
    the operation, and the values. An UPDATE shows the row as it was made; `was` is its key before, where that was
    another one. To restore the database as it was before a transaction: coffre restore database ID with
    --before-transaction XID.
    """
    from coffre.operations.restore_database.row_history import changes_of, tables_named

    period = period_of(since, until)
    journal = open_journal(target, stack, source, identity)
    tables = tables_named(table, key or [], journal.history.definitions())
    name = shown(*next(iter(tables.values())).name)
    with journal.recorded(f"journal of {name}"):
        found = changes_of(journal.history, tables, key or [], period)
        if as_json:
            print_json_lines(map(_json, found))
            return
        count = 0
        for count, one in enumerate(found, 1):  # noqa: B007
            console.file.write(f"{_line(one)}\n")
    if not count:
        remark(f"The journal has no such change of {name}.")
        raise typer.Exit(Exit.FAILED)


def _line(one: Happened) -> str:
    from coffre.postgres.journal.changes import Update, lsn_text

    transaction, change = one.transaction, one.change
    words = [
        f"{transaction.time:%Y-%m-%d %H:%M:%S.%f}",
        str(transaction.xid),
        lsn_text(transaction.commit_lsn),
        type(change).__name__.upper(),
        *_pairs(_new(one) or (None if isinstance(change, Update) else _old(one))),
    ]
    if isinstance(change, Update) and change.old is not None:
        words += ["was", *_pairs(change.old)]
    return visible(" ".join(words))


def _pairs(row: Row | None) -> list[str]:
    return [] if row is None else [f"{name}={_word(value)}" for name, value in zip(row.names, row.values, strict=True)]


def _word(value: Value) -> str:
    if value is None:
        return "NULL"
    if not isinstance(value, str):
        return "(unchanged)"
    cut = value if len(value) <= _SHOWN else f"{value[:_SHOWN]}..."
    return "'" + cut.replace("'", "''") + "'"


def _old(one: Happened) -> Row | None:
    from coffre.postgres.journal.changes import Delete, Update

    return one.change.old if isinstance(one.change, Update | Delete) else None


def _new(one: Happened) -> Row | None:
    from coffre.postgres.journal.changes import Insert, Update

    return one.change.new if isinstance(one.change, Insert | Update) else None


def _json(one: Happened) -> dict[str, Any]:
    from coffre.postgres.journal.changes import lsn_text

    old, new = _old(one), _new(one)
    left_out = [name for name, value in _items(new) if value is not None and not isinstance(value, str)]
    return {
        "time": one.transaction.time.isoformat(),
        "transaction": one.transaction.xid,
        "lsn": lsn_text(one.transaction.commit_lsn),
        "operation": type(one.change).__name__.lower(),
        "old": dict(_items(old)) if old is not None else None,
        "new": {name: value for name, value in _items(new) if name not in left_out} if new is not None else None,
        "unchanged": left_out,
        "interval": one.interval,
    }


def _items(row: Row | None) -> list[tuple[str, Value]]:
    return [] if row is None else list(zip(row.names, row.values, strict=True))
