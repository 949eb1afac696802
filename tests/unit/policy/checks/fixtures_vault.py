"""Facts about the vault."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from tests.unit.policy.checks.bench import Fixture

from coffre.policy.checks.answers import Refused, Trouble
from coffre.policy.checks.check import Facts, facts_of
from coffre.policy.checks.copies_facts import CopiesFacts, CopyPlace
from coffre.policy.checks.vault_facts import (
    LifecycleRule,
    LockProbe,
    PublicAccess,
    VaultReach,
    VaultSettings,
    VaultUse,
    WriteTest,
)

REACH: Final = VaultReach("vault")
USE: Final = VaultUse(
    "vault", "eu-west-3", "eu-west-3", tested=WriteTest.MANIFEST, keeps_checksums=True, lock_mode="governance"
)
PROBE: Final = LockProbe(
    "scratch/x/probe",
    "governance",
    free_deleted=True,
    locked_deleted=Refused("s3:DeleteObjectVersion", "AccessDenied: locked", is_denied=True),
)
SETTINGS: Final = VaultSettings(
    "vault",
    "",
    "Enabled",
    PublicAccess(blocked=True),
    (
        LifecycleRule("forget-overwritten-and-deleted-versions", ""),
        LifecycleRule("forget-what-drills-restored", "scratch/"),
    ),
    ("210987654321",),
)
OPEN: Final = PublicAccess(blocked=False, by_policy=False, by_grant=False)

HEALTHY: Final[Facts] = facts_of(REACH, USE, PROBE, SETTINGS, CopiesFacts(()))
FIXTURES: Final = (
    Fixture(
        "VAULT_UNREACHABLE",
        provokes=(replace(REACH, trouble=Trouble("BUCKET_MISSING", "The bucket does not exist.")),),
        spares=(REACH,),
    ),
    Fixture(
        "VAULT_UNWRITABLE",
        provokes=(replace(USE, written=Trouble("STORE_DENIED", "s3:PutObject was denied.", "Allow it.")),),
        spares=(replace(USE, tested=WriteTest.PACK, keeps_checksums=None),),
    ),
    Fixture(
        "VAULT_REGION",
        provokes=(replace(USE, bucket_region="us-east-1"),),
        spares=(replace(USE, bucket_region="us-east-1", function_region="us-east-1"),),
    ),
    Fixture(
        "VAULT_CHECKSUM_UNSUPPORTED",
        provokes=(replace(USE, written=Trouble("CHECKSUM_UNSUPPORTED", "The store does not know a header.")),),
        spares=(replace(USE, keeps_checksums=None, tested=WriteTest.PACK),),
    ),
    Fixture(
        "VAULT_LOCKS_OFF",
        provokes=(replace(USE, locks=Trouble("LOCKS_OFF", "The bucket has no Object Lock.")),),
        spares=(replace(USE, lock_mode="off"),),
    ),
    Fixture("VAULT_LOCK_NOT_ENFORCED", provokes=(replace(PROBE, locked_deleted=True),), spares=(PROBE,)),
    Fixture("VAULT_VERSIONING_OFF", provokes=(replace(SETTINGS, versioning="Suspended"),), spares=(SETTINGS,)),
    Fixture(
        "VAULT_PUBLIC",
        provokes=(replace(SETTINGS, public=replace(OPEN, by_policy=True)),),
        spares=(SETTINGS,),
        also=frozenset({"VAULT_PUBLIC_NOT_BLOCKED"}),
    ),
    Fixture("VAULT_PUBLIC_NOT_BLOCKED", provokes=(replace(SETTINGS, public=OPEN),), spares=(SETTINGS,)),
    Fixture(
        "VAULT_LIFECYCLE_EATS_PACKS",
        provokes=(replace(SETTINGS, lifecycle=(LifecycleRule("tidy", "", expires=True),)),),
        spares=(replace(SETTINGS, lifecycle=(LifecycleRule("tidy", "logs/", expires=True),)),),
    ),
    Fixture(
        "HISTORY_LEAVES_WITH_ACCOUNT",
        provokes=(replace(SETTINGS, copied_to=()),),
        spares=(replace(SETTINGS, copied_to=()), CopiesFacts((CopyPlace("offsite"),))),
    ),
)
