"""Facts about copies of the vault."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Trouble
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.copies_facts import CopiesFacts, CopyPlace

PLACE: Final = CopyPlace("offsite")
TROUBLE: Final = Trouble("STORE_DENIED", "Access was denied.", "Grant it.")

HEALTHY: Final[Facts] = facts_of(CopiesFacts((PLACE, CopyPlace("disk"))))
FIXTURES: Final = (
    Fixture(
        "COPY_UNREACHABLE",
        provokes=(CopiesFacts((PLACE, replace(PLACE, name="r2", trouble=TROUBLE))),),
        spares=(CopiesFacts((PLACE,)),),
    ),
    Fixture(
        "COPY_NOT_WRITABLE",
        provokes=(CopiesFacts((replace(PLACE, written=TROUBLE),)),),
        spares=(CopiesFacts((PLACE,)),),
    ),
    Fixture(
        "COPIES_IN_ONE_PLACE",
        provokes=(CopiesFacts((PLACE, replace(PLACE, name="r2", twin="offsite"))),),
        spares=(CopiesFacts((PLACE,)),),
    ),
    Fixture(
        "COPY_LOCKS_OFF",
        provokes=(CopiesFacts((replace(PLACE, locks=Trouble("LOCKS_OFF", "It has no Object Lock.")),)),),
        spares=(CopiesFacts((PLACE,)),),
    ),
    Fixture(
        "COPY_VERSIONING_OFF",
        provokes=(
            CopiesFacts((replace(PLACE, bucket="copy", versioning="Suspended"),)),
            CopiesFacts((replace(PLACE, bucket="copy", versioning="Off"),)),
        ),
        spares=(CopiesFacts((replace(PLACE, bucket="copy", versioning="Enabled"), CopyPlace("disk"))),),
    ),
    Fixture(
        "COPY_NOT_ELSEWHERE",
        provokes=(CopiesFacts((replace(PLACE, near="the same bucket"),)),),
        spares=(CopiesFacts((PLACE,)),),
    ),
)
