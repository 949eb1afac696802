"""Restore points into a copy: after all parts of a point are complete there, its lists, and last its seal."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from coffre.catalog.catalog import Catalog
from coffre.model.copies import CopyStatus
from coffre.model.errors import ObjectMissingError
from coffre.model.points import PointRecord
from coffre.stores.store import Store, put_new
from coffre.vault.layout import point_key
from coffre.vault.points import read_seal


def due_points(catalog: Catalog, destination: str, target: str) -> Iterator[PointRecord]:
    """Yield the sealed points of a target whose parts are all COMPLETED at a destination."""
    sealed = [point for point in catalog.points.all() if point.sealed_at is not None and point.part(target)]
    if not sealed:
        return
    whole = {copy.backup_id for copy in catalog.copies.of(destination) if copy.status is CopyStatus.COMPLETED}
    yield from (point for point in sealed if all(part.backup_id in whole for part in point.parts))


def copy_point(source: Store, destination: Store, point: PointRecord) -> None:
    """Copy one point, the seal last; nothing if it exists. What a rotation deletes meanwhile is no point any more.

    Raises
    ------
    CoffreError
        A store refuses, or does not answer; a point was changed. The next run continues.
    """
    key = point_key(point.name, point.id)
    try:
        destination.head(key)
    except ObjectMissingError:
        pass
    else:
        return
    try:
        seal = read_seal(source, point.name, point.id)
        if seal is None:
            return
        for one in seal.lists:
            body = source.get(one.key)
            if hashlib.sha256(body).hexdigest() == one.sha256:  # no restore needs a list: a damaged one is left out
                put_new(destination, one.key, body)
        put_new(destination, key, source.get(key))
    except ObjectMissingError:
        return
