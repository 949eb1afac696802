"""Facts about the buckets of a target."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.bucket_facts import SourceBucket, Sources, StoreSecret
from coffre.policy.checks.check import Facts, facts_of

SECRET: Final = StoreSecret("coffre/storage/r2")
BUCKET: Final = SourceBucket("photos", objects=7, versioning="Enabled", is_ours=False)
# In another store: nothing is asked that only AWS knows.
ELSEWHERE: Final = replace(BUCKET, versioning=None, is_ours=None)
SOURCES: Final = Sources((BUCKET, ELSEWHERE), 7)


def sources(*buckets: SourceBucket) -> Sources:
    """Return a target with these buckets."""
    return Sources(buckets, 7)


DENIED: Final = Trouble("STORE_DENIED", "It was denied.", "Allow it.")

HEALTHY: Final[Facts] = facts_of(SECRET, SOURCES)
FIXTURES: Final = (
    Fixture(
        "STORE_SECRET_UNUSABLE",
        provokes=(replace(SECRET, trouble=Trouble("SECRET_MISSING", "There is no secret.")),),
        spares=(SECRET,),
    ),
    Fixture("BUCKET_UNREADABLE", provokes=(sources(replace(BUCKET, read=DENIED)),), spares=(sources(BUCKET),)),
    Fixture(
        "BUCKET_REGION",
        provokes=(sources(SourceBucket("photos", listed=Trouble("BUCKET_REGION", "It is in us-east-1."))),),
        spares=(sources(ELSEWHERE),),
    ),
    Fixture(
        "BUCKET_EMPTY",
        provokes=(sources(replace(BUCKET, empty_prefixes=("albums/",))),),
        spares=(sources(replace(BUCKET, has_more=True)),),
    ),
    Fixture("BUCKET_TAGS_UNREADABLE", provokes=(sources(replace(BUCKET, tagged=DENIED)),), spares=(sources(BUCKET),)),
    Fixture(
        "BUCKET_VERSIONING_OFF",
        provokes=(sources(replace(BUCKET, versioning="Suspended")),),
        spares=(sources(replace(BUCKET, versioning=None)),),
    ),
    Fixture(
        "VAULT_SAME_ACCOUNT_AS_SOURCE",
        provokes=(sources(replace(BUCKET, is_ours=True)),),
        spares=(sources(replace(BUCKET, is_ours=None)),),
    ),
)
