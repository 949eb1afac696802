"""Verify a vault without its catalog: its content must match its own manifests. Nothing is written.

Findings are reported but not recorded: a copy on a disk may be read-only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from coffre.model.backup import Backup
from coffre.model.errors import EncryptionError, IntegrityError, ObjectMissingError
from coffre.model.manifest import Frame, Manifest, PackReference
from coffre.model.rotation import Amount, Problem
from coffre.model.verification import Damage, DamageReport, Examined, Level, VerificationReport
from coffre.operations.stored_backup.open_backup import open_manifest
from coffre.operations.verify.damages import Place, once, pack_missing, pack_swapped, pack_truncated, place_of
from coffre.vault.codec import FrameDecoder
from coffre.vault.damage import read_damage
from coffre.vault.readback import ReadEntry, read_back
from coffre.vault.vault import Vault

# As in `inventory`: a store answers in some 20 ms, so twelve requests run in parallel.
_WORKERS: Final = 12


@dataclass(frozen=True)
class VaultCheck:
    """Which backups of a vault are verified, and what opens them.

    Parameters
    ----------
    unreadable
        By id of the backup, its target and the error of reading its records. Such backups count as damaged, and
        are not in `backups`.
    """

    id: str
    vault: Vault
    decoder: FrameDecoder
    backups: tuple[Backup, ...]
    unreadable: Mapping[str, tuple[str, str]]
    now: datetime

    def inventory(self) -> VerificationReport:
        """Check that all referenced packs exist, with the recorded length and the checksum that the store keeps."""
        tally = _Tally()
        packs: dict[str, PackReference] = {}
        for backup in self.backups:
            manifest = self._manifest_of(backup, tally)
            if manifest is not None:
                packs |= {pack.key: pack for pack in manifest.packs}
        lengths = self.vault.pack_lengths(packs.values())
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="head") as pool:
            for pack, (damage, is_compared) in zip(
                packs.values(),
                pool.map(lambda one: self._look_at(one, lengths.get(one.key)), packs.values()),
                strict=True,
            ):
                tally.packs = tally.packs.plus(pack.length)
                tally.compared += is_compared
                if damage is not None:
                    tally.bad_packs[pack.key] = damage
        for backup_id, manifest in tally.manifests.items():
            tally.own.setdefault(backup_id, []).extend(
                tally.bad_packs[pack.key] for pack in manifest.packs if pack.key in tally.bad_packs
            )
        return self._report(Level.INVENTORY, tally)

    def read(self) -> VerificationReport:
        """Read, decrypt and hash every byte of the backups; shared frames are read once."""
        tally = _Tally()
        for backup in self.backups:
            manifest = self._manifest_of(backup, tally)
            if manifest is None:
                continue
            try:
                decoder = self.decoder.of_recipients(manifest.recipients)
            except EncryptionError as error:
                text = f"Backup {backup.id} of {backup.target} cannot be read: {error.message}"
                tally.problems.append(Problem(code=error.code, target=backup.target, text=text))
                tally.examined.append(_examined(backup, "unreadable", error.message))
                continue
            self._read(backup, manifest, decoder, tally)
        return self._report(Level.READ, tally)

    def _manifest_of(self, backup: Backup, tally: _Tally) -> Manifest | None:
        """Return a manifest, after its lists of entries were checked."""
        try:
            manifest = open_manifest(self.vault, backup)
            for _ in self.vault.entries(manifest):
                pass
        except IntegrityError as error:
            tally.own.setdefault(backup.id, []).append(Damage.of(error))
            tally.examined.append(_examined(backup, "damaged"))
            return None
        tally.manifests[backup.id] = manifest
        return manifest

    def _look_at(self, pack: PackReference, length: int | None) -> tuple[Damage | None, bool]:
        """Return what is wrong with a pack, and whether the store had a checksum to compare."""
        if length is None:
            return pack_missing(pack.key), False
        if length != pack.length:
            return pack_truncated(pack.key, length, pack.length), False
        try:
            kept = self.vault.store.head(pack.key).sha256
        except ObjectMissingError:
            return pack_missing(pack.key), False
        if kept not in (None, pack.sha256):
            return pack_swapped(pack.key), True
        return None, kept is not None

    def _read(self, backup: Backup, manifest: Manifest, decoder: FrameDecoder, tally: _Tally) -> None:
        found: list[Damage] = []
        try:
            for read in read_back(self.vault, decoder, self.vault.entries(manifest), tally.is_new):
                found += tally.take(read)
        except IntegrityError as error:
            found.append(Damage.of(error))
        if backup.damaged_at is not None:
            found += _shown_by_restoring(self.vault, backup)
        if found:
            tally.own.setdefault(backup.id, []).extend(once(found))
        tally.examined.append(_examined(backup, "damaged" if found else "verified"))

    def _report(self, level: Level, tally: _Tally) -> VerificationReport:
        own = {backup_id: found for backup_id, found in tally.own.items() if found}
        named = {backup.id: backup.target for backup in self.backups}
        for backup_id, (target, text) in self.unreadable.items():
            named[backup_id] = target
            own[backup_id] = [Damage(code="MANIFEST_DAMAGED", text=text)]
        damaged = [DamageReport.on(one, named[one], level, self.now, found) for one, found in own.items()]
        closed = {one.backup_id for one in tally.examined if one.outcome == "unreadable"}
        if level is Level.INVENTORY:  # which reads nothing that could show that they are mended
            closed |= {one.id for one in self.backups if one.damaged_at is not None}
        return VerificationReport(
            id=self.id,
            level=level,
            status=500 if damaged or tally.problems else 200,
            backups=len(named),
            packs=tally.packs if level is Level.INVENTORY else tally.packs_read(),
            checksums=tally.compared,
            checksums_not_kept=tally.packs.objects - tally.compared,
            entries=tally.entries,
            frames=tally.frames,
            examined=tuple(tally.examined) if level is Level.READ else (),
            damaged=tuple(sorted(damaged, key=lambda report: report.backup_id, reverse=True)),
            problems=tuple(tally.problems),
            healthy={
                target: next(
                    (one.id for one in self.backups if one.target == target and one.id not in {*own, *closed}), None
                )
                for target in dict.fromkeys(named.values())
            },
        )


@dataclass
class _Tally:
    manifests: dict[str, Manifest] = field(default_factory=dict)
    packs: Amount = field(default_factory=Amount)
    compared: int = 0
    entries: int = 0
    frames: Amount = field(default_factory=Amount)
    seen: set[Place] = field(default_factory=set)
    bad_packs: dict[str, Damage] = field(default_factory=dict)
    bad_frames: dict[Place, Damage] = field(default_factory=dict)
    own: dict[str, list[Damage]] = field(default_factory=dict)
    examined: list[Examined] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)

    def is_new(self, frame: Frame) -> bool:
        """Tell whether a frame was not read yet, and note that it is read now."""
        if place_of(frame) in self.seen:
            return False
        self.seen.add(place_of(frame))
        return True

    def packs_read(self) -> Amount:
        return Amount(objects=len({pack for pack, _ in self.seen}), size_bytes=self.frames.size_bytes)

    def take(self, read: ReadEntry) -> Iterator[Damage]:
        """Count what was read of an entry, and yield its damage, found now or with another backup."""
        self.entries += read.is_read
        for frame in read.frames:
            self.frames = self.frames.plus(frame.length)
        for damage in read.damages:
            for frame in read.entry.frames:
                if damage.pack == frame.pack and damage.offset in (None, frame.offset):
                    self.bad_frames[place_of(frame)] = damage
        yield from read.damages
        for frame in read.entry.frames:
            if not read.damages and place_of(frame) in self.bad_frames:
                yield self.bad_frames[place_of(frame)].model_copy(update={"entry": read.entry.name})


def _shown_by_restoring(vault: Vault, backup: Backup) -> list[Damage]:
    """Return what a drill found that no reading of stored bytes can see."""
    known = read_damage(vault, backup.target, backup.id)
    return [] if known is None or known.is_of_stored_bytes else list(known.damages)


def _examined(backup: Backup, outcome: str, text: str | None = None) -> Examined:
    fields = {"backup_id": backup.id, "target": backup.target, "outcome": outcome, "text": text}
    return Examined.model_validate(fields)
