"""`coffre journal list`: the journals, or the intervals of one with the moments that can be restored."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from coffre_cli.commands.journal.price import journal_lines, undrained
from coffre_cli.deployed import DeployedStack
from coffre_cli.examples import examples
from coffre_cli.screen import age, print_json, print_table, say, say_command
from coffre_cli.stack_choice import find_stack
from coffre_cli.stack_options import JsonOption, StackOption
from coffre_cli.vault_choice import refuse_vault

if TYPE_CHECKING:
    from coffre.model.errors import IntegrityError
    from coffre.model.journal import JournalState
    from coffre.model.journal_proof import JournalProof
    from coffre.operations.journal.overview import Stretch

_STYLES = {"equal": "green", "not_equal": "red", "not_proven": "yellow"}
_NO_MOMENT = (
    "No moment can be restored: what is stored of the journal is damaged or incomplete. Backups can be restored."
)
EXAMPLES = examples("coffre journal list", "coffre journal list shop", "coffre journal list shop --json")


def list_journals(
    target: Annotated[str | None, typer.Argument(help="The database. Default: all that have a journal.")] = None,
    stack: StackOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how far each journal is, or the intervals of one: which moments can be restored, and why others cannot.

    Times are in UTC. An interval ends where its changes cannot be followed any further; the next backup is the base of
    the interval after it, and the moments in between cannot be restored.
    """
    refuse_vault("journal list")
    deployed = find_stack(stack)
    if target is not None:
        _show_one(deployed, deployed.known_target(target), as_json=as_json)
        return
    states = _journals(deployed)
    if as_json:
        print_json([{"target": name, "state": _state_json(state)} for name, state in states.items()])
    elif not states:
        say("No target has a journal. docs/point-in-time.md says how one is switched on.")
    else:
        print_table(
            ["TARGET", "STORED UP TO (UTC)", "LAST DRAIN", "SERVER KEEPS", "STATE"],
            ([name, *_row(deployed, name, state)] for name, state in states.items()),
            right=["SERVER KEEPS"],
        )
        for name, line in journal_lines(deployed, [*states]).items():
            say(f"{name}: {line}", style="dim")


def _journals(deployed: DeployedStack) -> dict[str, JournalState | None]:
    from coffre.policy.journal_health import has_journal

    states = deployed.catalog.journals.all()
    configured = [target.name for target in deployed.configuration.databases if has_journal(target)]
    return {name: states.get(name) for name in sorted({*states, *configured})}


def _row(deployed: DeployedStack, name: str, state: JournalState | None) -> list[str]:
    if state is None:
        return ["-", "never", "-", _words(deployed, name, state)]
    return [
        _moment(state.seen_at),
        age(state.drained_at) if state.drained_at else "never",
        f"{state.retained_bytes / 1e6:,.1f} MB",
        _words(deployed, name, state),
    ]


def _words(deployed: DeployedStack, name: str, state: JournalState | None) -> str:
    """Return what is wrong, as `coffre status` does, or that all is good."""
    from coffre.policy.journal_health import has_journal
    from coffre.policy.journal_status import journal_status

    target = next((one for one in deployed.configuration.databases if one.name == name), None)
    if not has_journal(target):
        return "switched off" if state is None or state.slot is None else "switched off: the next tick drops its slot"
    is_drained = not undrained(deployed, [name])
    return journal_status(target, state, datetime.now(UTC), is_drained=is_drained).problem or "good"


def _show_one(deployed: DeployedStack, target: str, *, as_json: bool) -> None:
    from coffre.operations.journal.overview import stretches

    state, proofs = deployed.catalog.journals.find(target), deployed.catalog.journal_proofs.of(target)
    damage: list[IntegrityError] = []
    found = stretches(deployed.catalog, deployed.vault, target, damage.append)
    if as_json:
        shown = [_stretch_json(one) for one in found]
        proven = [proof.model_dump(mode="json") for proof in proofs]
        known = {"target": target, "state": _state_json(state), "proofs": proven}
        print_json({**known, "intervals": shown, "damage": [error.message for error in damage]})
        return
    prices = journal_lines(deployed, [target])
    if state is None and not found and not damage and not prices:
        say(f"{target} has no journal. docs/point-in-time.md says how one is switched on.")
        return
    upto, last, kept, words = _row(deployed, target, state)
    say(f"Journal of {target}: {words}", style="" if words == "good" else "yellow")
    if state is not None:
        say(f"  stored up to  {upto} UTC, last drain {last}")
        say(f"  slot          {state.slot or 'none'}, for which the server keeps {kept} of WAL")
    if proofs:
        say(f"  last proof    {age(proofs[0].proven_at)}: {proofs[0].text}", style=_STYLES.get(proofs[0].verdict, ""))
        for difference in proofs[0].differences:
            say(f"                {difference}", style="red")
    for line in prices.values():
        say(f"  {line}", style="dim")
    for error in damage:
        say(f"  damage        {error.message} [{error.code}]", style="yellow")
    if not found:
        say("Nothing is stored yet: no moment can be restored." if not damage else _NO_MOMENT)
        return
    print_table(
        ["INTERVAL", "RESTORABLE FROM (UTC)", "TO", "BASES", "PROVEN EQUAL UP TO", "END"],
        (_stretch_row(one, proofs) for one in found),
    )
    newest = max((one.until for one in found if one.until is not None), default=None)
    if newest is None and (damage or any(one.damage for one in found)):
        say(_NO_MOMENT)
    elif newest is None:
        say("No moment can be restored yet: the base, a backup that the journal has asked for, is missing.")
    else:
        say("To restore a moment, such as the newest (NEW is a variable with the address of a new or empty database):")
        say_command(f'coffre restore database latest --target {target} --to env:NEW --at "{_moment(newest)}"')


def _stretch_row(one: Stretch, proofs: Sequence[JournalProof]) -> list[str]:
    since = _moment(one.since) if one.since else "no moment"
    proven = _proven([proof for proof in proofs if proof.interval == one.interval.id])
    tail = (
        f" Rows are stored up to {_moment(one.tail_until)}: see coffre journal find-drop."
        if one.tail_until is not None
        else ""
    )
    return [one.interval.id, since, _moment(one.until), str(len(one.bases)), proven, one.why + tail]


def _proven(proofs: Sequence[JournalProof]) -> str:
    """Return up to where an interval is proven equal, and whether a part of it is not."""
    equal = max((proof.until for proof in proofs if proof.is_equal), default=None)
    words = [_moment(equal)] if equal else []
    if any(proof.is_doubtful for proof in proofs):
        words.append("DOUBTFUL")
    return ", ".join(words) or "-"


def _moment(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S}" if time is not None else "-"


def _state_json(state: JournalState | None) -> dict[str, Any] | None:
    return state.model_dump(mode="json") if state is not None else None


def _stretch_json(one: Stretch) -> dict[str, Any]:
    interval = one.interval.model_dump(mode="json", include={"id", "slot", "database", "from_lsn", "started_at"})
    return {
        **interval,
        "end": one.end.model_dump(mode="json") if one.end is not None else None,
        "bases": list(one.bases),
        "restorable_from": one.since.isoformat() if one.since else None,
        "restorable_to": one.until.isoformat() if one.until else None,
        "rows_stored_to": one.tail_until.isoformat() if one.tail_until else None,
        "damage": one.damage,
    }
