"""`coffre journal find-drop`: where data may have been lost, and the command that restores the moment before."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre.model.names import shown
from coffre.model.words import counted
from coffre_cli.commands.journal.reading import SinceOption, UntilOption, open_journal, period_of
from coffre_cli.examples import examples
from coffre_cli.place import Place
from coffre_cli.private_key import IdentityOption
from coffre_cli.reading import FromOption
from coffre_cli.screen import print_json, remark, say, say_command
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.standalone import StandaloneVault

if TYPE_CHECKING:
    from coffre.operations.restore_database.find_drop import Loss, Losses

EXAMPLES = examples(
    "coffre journal find-drop shop",
    "coffre journal find-drop shop --since 2026-11-27 --until 2026-11-28",
    "coffre journal find-drop shop --since 24h --json",
)
_NAMED = 5


def find_drop(
    target: Annotated[str, typer.Argument(help="The database.")],
    since: SinceOption = None,
    until: UntilOption = None,
    most: Annotated[
        int, typer.Option("--most", min=1, max=1000, help="This number of TRUNCATEs, and of transactions with deletes.")
    ] = 10,
    identity: IdentityOption = None,
    source: FromOption = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find where data may have been lost, and show the command that restores the moment just before.

    Shown are changed definitions (DROP TABLE and the like, which the journal knows only as the end of an interval), the
    newest TRUNCATEs, and the transactions that deleted the most rows; the newest last. Times are in UTC. What a
    ROLLBACK has undone, and rows that an UPDATE has overwritten, are not among them: coffre journal log.
    """
    from coffre.operations.restore_database.find_drop import losses_of

    period = period_of(since, until)
    journal = open_journal(target, stack, source, identity)
    with journal.recorded("journal: what was deleted"):
        losses = losses_of(journal.history, journal.stretches, period, most)
    if as_json:
        print_json([_json(journal.place, loss, stack) for loss in losses.found])
        return
    for loss in losses.found:
        _show(journal.place, loss, stack)
    _say_further(losses)


def _show(place: Place, loss: Loss, stack: str | None) -> None:
    time = f"{loss.time:%Y-%m-%d %H:%M:%S.%f} UTC" if loss.time is not None else "time not known"
    say(f"{time}  {_words(loss)}")
    command = _command(place, loss, stack)
    for one in loss.without_rows:
        say(
            f"  Transaction {one.xid}, committed at {one.time:%H:%M:%S.%f}, changed no row. If it made the change:"
            f" --before-transaction {one.xid}"
        )
    if command is None:
        say("  The moment before it cannot be restored by the journal, which had no base: coffre list.", style="yellow")
    else:
        say_command(command)
        if (tables := _tables_command(place, loss, stack)) is not None:
            say_command(tables)


def _words(loss: Loss) -> str:
    if loss.xid is None:
        return f"the last moment that is known to fit the definitions before the change. {loss.text}"
    names = [shown(*table) + (f" ({rows:,})" if rows else "") for table, rows in loss.tables[:_NAMED]]
    more = f" and {len(loss.tables) - _NAMED} more" if len(loss.tables) > _NAMED else ""
    what = f"{counted(loss.rows, 'row')} deleted from" if loss.rows else "TRUNCATE of"
    return f"{what} {', '.join(names)}{more} by transaction {loss.xid}"


def _command(place: Place, loss: Loss, stack: str | None) -> str | None:
    from coffre.postgres.journal.changes import lsn_text

    if loss.backup is None:
        return None
    program = place.command if isinstance(place, StandaloneVault) else "coffre"
    named = f" --stack {stack}" if stack is not None else ""
    return f"{program} restore database {loss.backup.id} --to env:NEW --at-lsn {lsn_text(loss.before_lsn)}{named}"


def _tables_command(place: Place, loss: Loss, stack: str | None) -> str | None:
    """Return the command that stages these tables alone; None where they are not known, or many."""
    if loss.backup is None or not 0 < len(loss.tables) <= _NAMED:
        return None
    from coffre.postgres.journal.changes import lsn_text

    names = " ".join(shlex.quote(shown(*table)) for table, _ in loss.tables)
    program, to = (place.command, " --to env:OWNER") if isinstance(place, StandaloneVault) else ("coffre", "")
    named = f" --stack {stack}" if stack is not None else ""
    return f"{program} restore tables {loss.backup.id} {names} --at-lsn {lsn_text(loss.before_lsn)}{to}{named}"


def _say_further(losses: Losses) -> None:
    if not losses.found:
        remark("The journal has no changed definitions, no TRUNCATE, and no transaction that deleted several rows.")
        return
    say("NEW is a variable with the address of a database that does not exist yet, or is empty. The tables alone are")
    say("staged next to those in use, and compared.")
    if losses.further_deletes or losses.further_truncates:
        deletes = counted(losses.further_deletes, "smaller transaction")
        truncates = counted(losses.further_truncates, "older TRUNCATE")
        remark(f"Not shown: {deletes} with deletes, {truncates}. Give --since and --until, or --most.")


def _json(place: Place, loss: Loss, stack: str | None) -> dict[str, Any]:
    from coffre.postgres.journal.changes import lsn_text

    return {
        "kind": loss.kind.value,
        "time": loss.time.isoformat() if loss.time is not None else None,
        "transaction": loss.xid,
        "before_lsn": lsn_text(loss.before_lsn),
        "tables": [{"table": shown(*table), "rows": rows} for table, rows in loss.tables],
        "text": loss.text,
        "transactions_without_rows": [
            {"transaction": one.xid, "time": one.time.isoformat(), "before_lsn": lsn_text(one.commit_lsn - 1)}
            for one in loss.without_rows
        ],
        "backup_id": loss.backup.id if loss.backup is not None else None,
        "command": _command(place, loss, stack),
        "tables_command": _tables_command(place, loss, stack),
    }
