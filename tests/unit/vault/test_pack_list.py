"""The packs of a manifest, read one at a time, are those that reading it whole finds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.operations.copy.copies import CONTENT, STARTED

from coffre.model.backup import Tier
from coffre.model.errors import IntegrityError
from coffre.model.kinds import TargetKind
from coffre.model.manifest import EntriesFile, Manifest, PackReference
from coffre.vault.pack_list import PackList

SHA256 = "0" * 64
PACKS = st.builds(
    PackReference,
    key=st.from_regex(r"v1/packs/[0-9A-Z]{3}/[0-9a-f]{2}", fullmatch=True),
    length=st.integers(1, 2**26),
    sha256=st.just(SHA256),
    live_bytes=st.integers(0, 2**26),
)


def manifest(packs: tuple[PackReference, ...], **fields: object) -> Manifest:
    content = CONTENT.model_copy(update={"database": '"packs": [\n ] {}', **fields})
    return Manifest(
        backup_id="01K9X000000000000000000000",
        target="shop",
        kind=TargetKind.DATABASE,
        tiers=(Tier.DAILY,),
        created_at=STARTED,
        completed_at=STARTED,
        encryption="none",
        entries=(EntriesFile(key="v1/e", sha256=SHA256, length=1, count=1),),
        packs=packs,
        plaintext_bytes=1,
        stored_bytes=1,
        rows=0,
        content=content,
    )


@given(st.lists(PACKS, max_size=5).map(tuple), st.sampled_from((None, 1, 2)))
def test_it_has_the_packs_of_the_manifest_whoever_laid_it_out(
    packs: tuple[PackReference, ...], indent: int | None
) -> None:
    whole = manifest(packs)

    listed = PackList.of(whole.model_dump_json(indent=indent).encode(), "manifest.json")

    assert tuple(pack for _, pack in listed) == packs
    assert tuple(listed.at(place) for place, _ in listed) == packs
    assert listed.manifest == whole.model_copy(update={"packs": ()})


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"length": 7', b'"length": null'),
        (b"v1/packs/AAA/00", b"v1/packs/A{}/00"),
        (b"v1/packs/AAA/00", b"v1/packs/A{A/00"),
        (b"v1/packs/AAA/00", b"v1/packs/A}A/00"),
        (b'"backup_id"', b'"backup"'),
        (b"\n ]", b""),
    ],
)
def test_a_record_that_is_none_is_damage_and_never_passed_over(old: bytes, new: bytes) -> None:
    pack = PackReference(key="v1/packs/AAA/00", length=7, sha256=SHA256, live_bytes=7)
    body = manifest((pack,)).model_dump_json(indent=1).encode()

    with pytest.raises(IntegrityError, match="MANIFEST_DAMAGED"):
        list(PackList.of(body.replace(old, new), "manifest.json"))
