"""`coffre audit`: who did what, and whether the record of it is intact."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from coffre.model.errors import IntegrityError
from coffre.model.words import counted
from coffre_cli.commands.audit import accesses
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.exit_status import Exit
from coffre_cli.screen import print_json, say
from coffre_cli.since import since_time
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption

if TYPE_CHECKING:
    from coffre.model.audit import Anchor, AuditEvent, Head
    from coffre.policy.audit_chain import ChainReport, StoredEvent

_SHOWN: Final = 100
_STYLES: Final = {"refused": "yellow", "failed": "red"}
# A line of the weekly mail: chain, number, hash. A mail program may have broken it between them.
_HEAD: Final = re.compile(r"(?<!\S)(-|[a-z0-9][a-z0-9-]{0,62})\s+(\d{1,20})\s+([0-9a-f]{64})(?!\S)")
_BROKEN: Final = (
    "Keep the table as it is, and find out who wrote to it: docs/runbooks/AUDIT_BROKEN.md. If you have set the table "
    "back yourself, that is the cause; anchors that were made since then are checked with --since."
)

app = typer.Typer(
    epilog=examples(
        "coffre audit --since 7d",
        "coffre audit --target shop --action restore",
        "coffre audit --verify-chain",
        "coffre audit --verify-chain --anchor mail.txt",
        "coffre audit accesses --since 7d",
        "coffre audit --json | jq '.[] | select(.result != \"done\")'",
    ),
    invoke_without_command=True,
    subcommand_metavar="[COMMAND]",
    rich_markup_mode=None,
)


@app.callback()
def audit(
    context: typer.Context,
    since: Annotated[
        str | None,
        typer.Option(metavar="SPAN|TIME", help="Only what was recorded since: 24h, 7d, 2026-11-01, 2026-11-01T08:00Z."),
    ] = None,
    actor: Annotated[str | None, typer.Option(metavar="TEXT", help="Only of actors whose name contains this.")] = None,
    target: Annotated[str | None, typer.Option(metavar="NAME", help="Only what is about this target.")] = None,
    action: Annotated[
        str | None, typer.Option(metavar="ACTION", help="Only actions that begin with this: restore, backup.deleted.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, metavar="N", help="At most this number of events; 0 for all.")] = _SHOWN,
    verify_chain: Annotated[
        bool, typer.Option("--verify-chain", help="Check every event instead, against the anchors in the vault.")
    ] = False,
    anchor: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|TEXT|-",
            help="With --verify-chain: check against this anchor only: a file (an anchor, or a weekly mail), the lines "
            "of a mail themselves, or stdin.",
        ),
    ] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what was done, newest first: by whom, from where, with which result.

    A name with (claimed) is what the caller said; nothing proves it. With --verify-chain every chain is read from its
    first event to its head; the exit status is 1 unless everything is as it was recorded.
    """
    if context.invoked_subcommand is not None:
        return
    filters = {"--actor": actor, "--target": target, "--action": action}
    if verify_chain and (given := next((name for name, value in filters.items() if value is not None), None)):
        raise typer.BadParameter(f"--verify-chain checks all events: leave {given} out")
    if anchor is not None and not verify_chain:
        raise typer.BadParameter("--anchor needs --verify-chain")
    begin = since_time(since) if since is not None else None
    deployed = find_stack(stack)
    if verify_chain:
        _verify(deployed, anchor, begin, as_json=as_json)
        return
    if target is not None:
        deployed.known_target(target)
    found = deployed.catalog.audit.events(target, begin)
    chosen = (one for one in found if (actor or "") in one.actor and one.action.startswith(action or ""))
    _show(list(islice(chosen, limit or None)), limit, as_json=as_json)


app.command("accesses", short_help="Show who else accessed the vault.", epilog=accesses.EXAMPLES)(accesses.accesses)


def _show(events: Sequence[AuditEvent], limit: int, *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(event) for event in events])
        return
    if not events:
        say("No events.")
        return
    for event in events:
        _say(event)
    if limit and len(events) == limit:
        say(f"The newest {limit:,}. For more: --limit, or --limit 0 for all.")


def _say(event: AuditEvent) -> None:
    """Print what, about what and with which result, and below by whom, from where and how."""
    what = [f"{event.at:%Y-%m-%d %H:%M:%S}", event.action, event.result, event.target or "-", event.subject or ""]
    say("  ".join(what).rstrip(), style=_STYLES.get(event.result, ""))
    claimed = "" if event.verified else " (claimed)"
    origin = f", from {event.origin}" if event.origin else ""
    detail = f": {event.detail}" if event.detail else ""
    say(f"    by {event.actor}{claimed}{origin}{detail}")


# --- the check ---


def _verify(deployed: DeployedStack, given: str | None, since: datetime | None, *, as_json: bool) -> None:
    from coffre.policy.audit_chain import verify_chain
    from coffre.vault.audit_anchors import read_anchors

    log = deployed.catalog.audit
    if given is not None:
        anchors: Sequence[Anchor] = [_given(given)]
    else:
        anchors = list(read_anchors(deployed.vault.store, since))
    # Heads come first: what others record during the check is left out.
    heads = log.heads()
    report = verify_chain(
        _stored(deployed, heads, anchors), heads, anchors, now=datetime.now(UTC) if given is None else None
    )
    if as_json:
        print_json(_json(report))
        if not report.is_intact:
            raise typer.Exit(Exit.FAILED)
        return
    if not report.is_intact:
        raise IntegrityError(
            f"The audit is not intact: {counted(len(report.findings), 'finding')} in {_amount(report)}.",
            code="AUDIT_BROKEN",
            detail="\n".join(
                f"{one.shard or 'anchors'} {one.sequence or ''}: {one.text} [{one.code}]" for one in report.findings
            ),
            hint=_BROKEN,
        )
    say(f"Intact: {_amount(report)}. {_against(report)}", style="green")
    if report.unanchored:
        say(f"{counted(report.unanchored, 'event')} newer than every anchor: only the table itself protects them yet.")


def _stored(deployed: DeployedStack, heads: Sequence[Head], anchors: Sequence[Anchor]) -> Iterator[StoredEvent]:
    by_shard = {head.shard: head for head in heads}
    named = {head.shard for anchor in anchors for head in anchor.heads}
    for shard in sorted(by_shard.keys() | named):
        yield from deployed.catalog.audit.stored(shard, by_shard.get(shard))


def _amount(report: ChainReport) -> str:
    return f"{counted(report.events, 'event')} of {counted(report.shards, 'chain')}"


def _against(report: ChainReport) -> str:
    if report.newest_anchor is None:
        return "No anchor exists yet: the first is made within an hour."
    return f"Checked against {counted(report.anchors, 'anchor')}, the newest of {report.newest_anchor:%Y-%m-%d %H:%M}."


def _given(text: str) -> Anchor:
    """Return an anchor from what a person has: its document, or the lines of a mail."""
    from coffre.model.audit import Anchor, Head
    from coffre.vault.audit_anchors import parse_anchor

    where, words = _words(text)
    if words.lstrip().startswith("{"):
        return parse_anchor(words, where)
    found = _HEAD.findall(words)
    if not found:
        raise typer.BadParameter(
            f"{where} has no anchor: neither the document of one, nor lines of a mail (chain, number, hash)"
        )
    heads = tuple(Head(shard=shard, sequence=int(number), hash=sha256) for shard, number, sha256 in found)
    return Anchor(id=where, at=datetime.now(UTC), heads=heads)


def _words(given: str) -> tuple[str, str]:
    if given == "-":
        return "stdin", sys.stdin.read()
    if _HEAD.search(given) or given.lstrip().startswith("{"):
        return "--anchor", given
    try:
        return given, Path(given).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not a text"
        raise typer.BadParameter(f"{given} cannot be read: {why}") from error


def _json(report: ChainReport) -> dict[str, Any]:
    return {"intact": report.is_intact, **asdict(report)}
