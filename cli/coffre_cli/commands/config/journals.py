"""What is looked at before a journal is switched on: whether its server can have one, what it lacks, what it costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from coffre.model.errors import ConfigurationError, JournalError
from coffre_cli.commands.doctor.doctor import look_at_target, stopped
from coffre_cli.commands.doctor.show import show_findings
from coffre_cli.commands.journal.price import price_line
from coffre_cli.deployed import DeployedStack, StackUnreachableError
from coffre_cli.screen import say

if TYPE_CHECKING:
    from coffre.model.checkup import CheckResult, Checkup
    from coffre.model.configuration import Configuration
    from coffre.model.database_target import DatabaseTarget
    from coffre.model.journal_options import JournalOptions


@dataclass(frozen=True)
class NewJournal:
    """A journal that a document switches on or changes.

    `checkup` is what its server was found to be like; None: the address of the target is not in effect yet, and no
    function connects to another one.
    """

    target: str
    options: JournalOptions
    checkup: Checkup | None

    @property
    def prevented(self) -> tuple[CheckResult, ...]:
        """What keeps it from storing anything, or from being looked at."""
        from coffre.model.checkup import Severity
        from coffre.policy.checks.journal import prevents_journal

        if self.checkup is None:
            return ()
        unseen = [one for one in self.checkup.unseen if one.severity is not Severity.NOTE]
        return tuple(one for one in self.checkup.results if prevents_journal(one) or one in unseen)

    @property
    def as_json(self) -> dict[str, Any]:
        """For scripts."""
        checkup = self.checkup.model_dump(mode="json") if self.checkup is not None else None
        return {"target": self.target, "checkup": checkup}

    def show(self) -> None:
        """Say what was found, and what it costs."""
        say(f"The journal of {self.target}:", style="bold")
        if self.checkup is None:
            say("Its server is looked at when this is in effect: the target is new, or its address changes.")
        else:
            show_findings(self.checkup)
            if not self.checkup.findings and not self.prevented:
                say("Nothing was found that it lacks.", style="green")
        say(price_line(self.options))


def look_at_new_journals(deployed: DeployedStack, wanted: Configuration, *, quiet: bool) -> list[NewJournal]:
    """Look at the server of each journal that a document switches on or changes, as a backup would connect to it."""
    changed = list(_changed(_databases_in_effect(deployed), wanted, deployed))
    more = Counter(after.secret for before, after in changed if before is None or before.journal is None)
    found = list[NewJournal]()
    for before, after in changed:
        if after.journal is None:
            continue
        checkup = None
        if before is not None and _address(before) == _address(after):
            checkup = _look(deployed, after.name, after.journal, more[after.secret], quiet=quiet)
        found.append(NewJournal(after.name, after.journal, checkup))
    return found


def look_again(deployed: DeployedStack, new: Sequence[NewJournal], *, quiet: bool) -> list[NewJournal]:
    """Look at the servers that could not be looked at before the document was in effect."""
    in_effect = DeployedStack(deployed.name, deployed.outputs)
    return [
        NewJournal(one.target, one.options, _look(in_effect, one.target, one.options, 1, quiet=quiet))
        for one in new
        if one.checkup is None
    ]


def refuse_prevented(new: Sequence[NewJournal]) -> None:
    """Refuse journals that would store nothing.

    Raises
    ------
    JournalError
        `JOURNAL_NOT_POSSIBLE`
    """
    prevented = {one.target: one.prevented for one in new if one.prevented}
    if prevented:
        raise JournalError(
            f"Not switched on: the journal of {', '.join(prevented)} would store nothing, or could not be looked at.",
            code="JOURNAL_NOT_POSSIBLE",
            detail=" ".join(dict.fromkeys(one.sentence for found in prevented.values() for one in found)),
            hint="Nothing was changed. Mend it and run the command again; with --force it is put in effect as it is.",
        )


def _look(deployed: DeployedStack, name: str, options: JournalOptions, slots: int, *, quiet: bool) -> Checkup:
    asked = {"journal": options.model_dump(mode="json"), **({"slots": slots} if slots > 1 else {})}
    try:
        return look_at_target(deployed, name, asked, quiet=quiet)
    except StackUnreachableError as error:
        return stopped(name, error)


def _databases_in_effect(deployed: DeployedStack) -> dict[str, DatabaseTarget]:
    try:
        return {one.name: one for one in deployed.configuration.databases}
    except ConfigurationError:  # the new document mends the one in effect
        return {}


def _changed(
    before: dict[str, DatabaseTarget], wanted: Configuration, deployed: DeployedStack
) -> Iterator[tuple[DatabaseTarget | None, DatabaseTarget]]:
    """Yield the databases whose journal is new or another one, as they are in effect and as they are wanted."""
    from coffre.policy.journal_health import has_journal
    from coffre.runtime.server_databases import with_databases

    for after in with_databases(wanted, deployed.catalog).databases:
        known = before.get(after.name)
        if has_journal(after) and (known is None or known.journal != after.journal):
            yield known, after


def _address(target: DatabaseTarget) -> tuple[object, ...]:
    return target.secret, target.tls, target.provider
