"""The values of sequences, which are not transactional: their state when they are read (field note 17)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from coffre.model.manifest import SequenceValue
from coffre.model.names import qualified
from coffre.postgres.archive.reader import TocEntry
from coffre.postgres.source.snapshot_queries import OWNED_SEQUENCES, SEQUENCES
from coffre.postgres.source.unstored import Query

_BATCH: Final = 100


def read_sequences(query: Query, toc: Sequence[TocEntry], members: Sequence[int]) -> tuple[SequenceValue, ...]:
    """Read the values of the sequences that a backup has.

    Parameters
    ----------
    query
        Executes a statement with its parameters, and returns the rows.
    members
        The oids of tables whose sequences are not in the table of contents.
    """
    dumped = [entry.oid for entry in toc if entry.description == "SEQUENCE"]
    dumped += [oid for (oid,) in query(OWNED_SEQUENCES, {"tables": list(members)})]
    created = [entry.oid for entry in toc if entry.description == "EXTENSION"]
    names = query(SEQUENCES, {"sequences": dumped, "extensions": created})
    values: list[SequenceValue] = []
    for start in range(0, len(names), _BATCH):
        batch = names[start : start + _BATCH]
        union = " UNION ALL ".join(
            f"SELECT {index}, last_value, is_called FROM {qualified(*name)}"  # noqa: S608 - quoted
            for index, name in enumerate(batch)
        )
        for index, last_value, is_called in query(union):
            schema, name = batch[index]
            values.append(
                SequenceValue(schema_name=schema, sequence_name=name, last_value=last_value, is_called=is_called)
            )
    return tuple(values)
