"""What the report of a restore says about definitions that could not be made, or were made otherwise."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from coffre.operations.restore_database.definition_words import is_extension_comment, reason_of, spoken
from coffre.operations.restore_database.definitions import DefinitionRestore
from coffre.postgres.archive.entry_sql import owner_of, readable, statements_of, validation_of
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.destination.ledger import Refusal


def report_refusals(making: DefinitionRestore, made: Iterable[TocEntry]) -> None:
    """Say in the report what could not be made, given or checked, each with the SQL for later.

    `made` are all entries that were to be made.
    """
    for refusal in making.ledger.refusals:
        if is_extension_comment(refusal.entry):
            # What an extension says about itself is no loss.
            making.report.notes.append(f"Not restored: {spoken(refusal.entry)}: {refusal.reason}.")
        else:
            words = making.destination.profile.words.get(refusal.entry.description)
            reason = f"{words} ({reason_of(refusal)})" if words and refusal.sqlstate else reason_of(refusal)
            making.report.leave_out(spoken(refusal.entry), reason, _sql_of(making, refusal), refusal.sqlstate)
    for refusal in making.ledger.not_valid:
        making.report.leave_out(
            f"the validation of the {spoken(refusal.entry)}",
            f"rows violate it ({refusal.reason}). It exists as NOT VALID: new rows are checked",
            readable(validation_of(refusal.entry) or "", making.how.encoding) or None,
            refusal.sqlstate,
        )
    for part in making.ledger.lacking:
        making.report.leave_out(part.what, part.reason, part.sql, part.sqlstate)
    for entry, path in making.ledger.other_paths:
        making.report.notes.append(
            f"The {spoken(entry)} was made with the search_path {path}: it names things without their schema."
        )
    for entry, option in making.ledger.options:
        making.report.notes.append(f"The {spoken(entry)} was made without {option}, which the destination lacks.")
    for method in sorted(making.ledger.access_methods):
        making.report.notes.append(f"Tables of the access method {method} got the server's default access method.")
    _report_owners(making, made)


def _sql_of(making: DefinitionRestore, refusal: Refusal) -> str:
    """Return the statements that make what was refused, and what needs it, once the reason is gone."""
    return statements_of([refusal.entry, *refusal.needing], making.source.toc, making.how.encoding)


def _report_owners(making: DefinitionRestore, made: Iterable[TocEntry]) -> None:
    lost = making.ledger.lost()
    without: defaultdict[str, list[TocEntry]] = defaultdict(list)
    for entry in made:
        if entry.dump_id not in lost and owner_of(entry) and (reason := making.privileges.why_not_given(entry.owner)):
            without[f'"{entry.owner}": {reason}'].append(entry)
    for refusal in making.ledger.owners_refused:
        without[f'"{refusal.entry.owner}": {refusal.reason}'].append(refusal.entry)
    for reason, entries in without.items():
        objects = f"the {spoken(entries[0])}" if len(entries) == 1 else f"{len(entries):,} objects"
        sql = "".join(owner_of(entry).strip() + "\n" for entry in entries)
        making.report.leave_out(f"the owner of {objects}", reason, sql)
        making.report.with_owners = False
