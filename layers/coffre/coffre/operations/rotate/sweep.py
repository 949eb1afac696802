"""Remove from the vault what no backup needs any more: records of deleted backups, then what journals do
not need, and unreferenced packs.

The order makes it safe while backups run (docs/adr/0007): first every manifest is read, then every record of the
catalog, then packs are deleted. Only exact keys are deleted. If a sweep stops, the next one continues.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import groupby

from coffre.model.rotation import SweepReport
from coffre.operations.rotate.batch_delete import Remover
from coffre.operations.rotate.sweep_job import SweepJob, SweepTally
from coffre.operations.rotate.sweep_journal import JournalWalk
from coffre.operations.rotate.sweep_manifests import RecordsWalk
from coffre.operations.rotate.sweep_packs import PacksWalk
from coffre.operations.rotate.sweep_points import PointsWalk
from coffre.stores.store import ObjectInfo
from coffre.vault.layout import (
    JOURNAL,
    PACKS,
    drill_of,
    folder_of,
    is_anchor,
    is_configuration,
    is_report,
    is_restore_report,
)

type _Section = tuple[str, str] | str


def sweep(job: SweepJob) -> SweepReport:
    """Remove what is not needed, and report what the vault holds.

    Raises
    ------
    CoffreError
        The store or the catalog refused, or `job.check` raised. Only what is not needed was removed until then.
    """
    tally = SweepTally()
    with Remover(job.vault.store, job.check, dry_run=job.dry_run, locks=job.vault.locks) as remover:
        records = RecordsWalk(job, remover, tally)
        points = PointsWalk(job, remover, tally)
        packs: PacksWalk | None = None
        settled = cache(records.settle)
        # Sorted by key: folders of backups come before journals, and these before packs.
        for section, objects in groupby(job.vault.store.list(), key=_section):
            if isinstance(section, tuple):
                records.visit(*section, objects)
            elif section == PACKS:
                packs = PacksWalk(job, remover, tally, settled(), records.references)
                packs.visit(objects)
            elif section == JOURNAL:
                JournalWalk(job, remover, tally, records.bases, records.damaged_bases, settled().blocked).visit(objects)
            else:
                _note_others(objects, tally, points)
        packs = packs or PacksWalk(job, remover, tally, settled(), records.references)
        packs.finish()
    return tally.report()


def _section(info: ObjectInfo) -> _Section:
    """Return which section an object belongs to: the folder of a backup, the journals, the packs, or anything else."""
    for section in (PACKS, JOURNAL):
        if info.key.startswith(section):
            return section
    return folder_of(info.key) or ""


def _note_others(objects: Iterable[ObjectInfo], tally: SweepTally, points: PointsWalk) -> None:
    for info in objects:
        kept = is_restore_report(info.key) or is_anchor(info.key) or is_configuration(info.key) or is_report(info.key)
        is_known = kept or drill_of(info.key) is not None or points.visit(info)
        if not is_known:
            tally.note_foreign(info)
