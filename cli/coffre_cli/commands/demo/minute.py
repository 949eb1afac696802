"""The demo's chapter about the journal: what was lost a minute ago is restored as it was just before."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from coffre_cli.commands.config.change import set_document
from coffre_cli.commands.demo.steps import Scene, title, typed, wait
from coffre_cli.commands.journal.find_drop import find_drop
from coffre_cli.commands.journal.off import off
from coffre_cli.commands.journal.reading import open_journal, period_of
from coffre_cli.commands.journal.run import drain
from coffre_cli.commands.restore.tables import restore_tables
from coffre_cli.screen import say

_REVIEWS: Final = "casa.reviews"
# What happens after the backup: no backup has it.
_WORK: Final = "UPDATE casa.reviews SET comment = 'Thank you!' WHERE id % 3 = 0"
_ACCIDENT: Final = "DELETE FROM casa.reviews WHERE rating > 3"


def restore_minute(scene: Scene, folder: Path) -> bool:
    """Switch the journal on, lose rows that no backup has, and restore them; return whether all are equal again."""
    from coffre_local import stack
    from coffre_local.sample import fingerprint

    title(
        "7. Restore the minute before",
        "A backup is of the night. The journal stores what has changed since, every few minutes.",
    )
    _switch_on(folder, scene.deployed.current_configuration.document)
    typed(f"coffre journal drain {stack.SAMPLE}")
    night = scene.newest(stack.SAMPLE).id
    drain(stack.SAMPLE)
    wait(lambda: scene.newest(stack.SAMPLE).id != night or None, "The base of the journal did not come")
    source = scene.url(stack.SAMPLE)
    say(f"A morning's work: {_run(source, _WORK):,} reviews are answered.")
    then = fingerprint(source)
    lost = _run(source, _ACCIDENT)
    say(f"  - Deleted {lost:,} reviews with more than 3 stars, instead of those with less.", style="red")
    typed(f"coffre journal drain {stack.SAMPLE}")
    drain(stack.SAMPLE)
    typed(f"coffre journal find-drop {stack.SAMPLE}")
    find_drop(stack.SAMPLE, most=1)
    lsn = _before_newest_loss()
    typed(f"coffre restore tables latest {_REVIEWS} --target {stack.SAMPLE} --replace --at-lsn {lsn}")
    restore_tables("latest", table=[_REVIEWS], target=stack.SAMPLE, replace=True, at_lsn=lsn, no_safety=True, yes=True)
    now = fingerprint(source)['"casa"."reviews"']
    typed(f"coffre journal off {stack.SAMPLE} --yes")
    off(stack.SAMPLE, yes=True)
    if now != then['"casa"."reviews"']:
        say(f"  DIFFERENT: {_REVIEWS}: {then} is now {now}", style="bold red")
        return False
    say(f"  Equal again: {_REVIEWS}, every row, those of this morning too.", style="bold green")
    return True


def _switch_on(folder: Path, document: str) -> None:
    """Write the configuration with a journal of the sample."""
    from coffre_local import stack

    wanted = json.loads(document)
    for target in wanted["targets"]:
        if target["name"] == stack.SAMPLE:
            target["journal"] = {}
    path = folder / "configuration.json"
    path.write_text(json.dumps(wanted))
    typed("coffre config set configuration.json")
    set_document(str(path), yes=True)


def _before_newest_loss() -> str:
    from coffre.operations.restore_database.find_drop import losses_of
    from coffre.postgres.journal.changes import lsn_text
    from coffre_local import stack

    journal = open_journal(stack.SAMPLE, None, None, None)
    found = losses_of(journal.history, journal.stretches, period_of(None, None), 1).found
    return lsn_text(found[-1].before_lsn)


def _run(url: str, statement: str) -> int:
    """Execute a statement as the application does; return how many rows it has changed."""
    from coffre_local.sample.session import pinned_connection

    with pinned_connection(url) as session, session.cursor() as cursor:
        cursor.execute(statement)
        return cursor.rowcount
