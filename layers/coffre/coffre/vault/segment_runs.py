"""Which segments of a journal's interval follow one another, by their keys."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from coffre.model.errors import IntegrityError
from coffre.model.journal import JournalInterval
from coffre.vault.journal import listed_segments
from coffre.vault.layout import SegmentKey
from coffre.vault.vault import Vault


class SegmentRun(NamedTuple):
    """Keys of segments with nothing missing between them, and what is wrong before the first one; None: nothing is."""

    keys: list[SegmentKey]
    why: str | None


def segment_runs(vault: Vault, target: str, interval: str, damaged: Collection[str] = ()) -> list[SegmentRun]:
    """Return the keys of an interval's segments by what is missing between them; the first ones may be deleted.

    Parameters
    ----------
    damaged
        Keys of records that cannot be read.
    """
    keys = listed_segments(vault, target, interval)
    counts = Counter(key.number for key in keys)
    runs, why, before = [SegmentRun([], None)], None, None
    for key in keys:
        if before is not None and key.number > before + 1:
            why = f"the segment {before + 1} is missing"
        if counts[key.number] > 1:
            why = f"the segment {key.number} exists twice"
        elif key.key in damaged:
            why = f"the record of the segment {key.number} is damaged"
        else:
            if why is not None:
                runs.append(SegmentRun([], why))
            runs[-1].keys.append(key)
            why = None
        before = key.number
    return [*runs, SegmentRun([], why)] if why is not None else runs


def cut_error(interval: JournalInterval, why: str) -> IntegrityError:
    """Return the error of what is missing or damaged within an interval."""
    return IntegrityError(
        f"The journal of {interval.target} is damaged (interval {interval.id}): {why}.",
        code="JOURNAL_DAMAGED",
        hint=f"`coffre journal list {interval.target}` shows the moments before and after. Backups are not affected.",
    )
