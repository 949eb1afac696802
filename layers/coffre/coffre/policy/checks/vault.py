"""Checks of the vault: how its bucket is set up, and whether backups can be stored in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import Severity
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.check import Finding, Unread, check
from coffre.policy.checks.copies_facts import CopiesFacts
from coffre.policy.checks.vault_facts import (
    LifecycleRule,
    LockProbe,
    VaultReach,
    VaultSettings,
    VaultUse,
    WriteTest,
)

# Classes whose objects have to be restored before they can be read (S3 User Guide, "Storage classes").
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# What must stay as it is: everything below these, in the vault's folder.
_KEPT: Final = ("v1/backups/", "v1/packs/", "v1/journal/", "v1/points/", "v1/audit/anchors/")
_CHECKSUM: Final = "CHECKSUM_UNSUPPORTED"

type Found = Iterator[Finding | Unread]


# --- what the function can do with it ---


@check(
    "VAULT_UNREACHABLE",
    Severity.BLOCKER,
    VaultReach,
    fine="The backup function reaches the vault.",
    cure="Check that the bucket exists, and the role and the network of the function.",
)
def vault_unreachable(reach: VaultReach) -> Found:
    """Find a vault that the function cannot list."""
    if reach.trouble is not None:
        yield Finding(
            "The backup function cannot list the vault.", str(reach.trouble), reach.trouble.hint, reach.bucket
        )


@check(
    "VAULT_UNWRITABLE",
    Severity.BLOCKER,
    VaultUse,
    fine="The backup function may write into the vault.",
    cure="Check the role of the function, the policy of the bucket, and the KMS key if it has one of its own.",
)
def vault_unwritable(use: VaultUse) -> Found:
    """Find a vault that refuses what the function writes."""
    if use.tested is None:
        yield Unread(
            "Whether the function may write into the vault was not tried: no backup is stored yet, and a test would "
            "store something. Take a backup, or run coffre doctor --probe."
        )
    elif use.written is not None and use.written.code != _CHECKSUM:
        yield Finding(
            "The backup function cannot write into the vault.", str(use.written), use.written.hint, use.bucket
        )


@check(
    "VAULT_REGION",
    Severity.WARNING,
    VaultUse,
    fine="The vault is in the region of the functions.",
    cure="Deploy the stack in the region of the vault (docs/runbooks/ADOPT_A_VAULT.md).",
)
def vault_region(use: VaultUse) -> Found:
    """Find a vault in another region than the functions."""
    if use.bucket_region is None or use.function_region is None:
        yield Unread("In which region the vault is could not be read: the store does not say.")
    elif use.bucket_region != use.function_region:
        yield Finding(
            "The vault is in another region than the functions: every byte crosses regions, and is paid for.",
            f"bucket in {use.bucket_region}, functions in {use.function_region}",
            subject=use.bucket,
        )


@check(
    "VAULT_CHECKSUM_UNSUPPORTED",
    Severity.BLOCKER,
    VaultUse,
    fine="The vault's store takes and keeps checksums.",
    cure="Deploy with VaultChecksum=md5: Coffre then keeps the SHA-256 in the metadata of objects.",
)
def vault_checksum_unsupported(use: VaultUse) -> Found:
    """Find a store that refuses SHA-256 checksums, or forgets them."""
    if use.written is not None and use.written.code == _CHECKSUM:
        yield Finding("The vault's store refuses SHA-256 checksums.", str(use.written), subject=use.bucket)
    elif use.tested is None:
        yield Unread("Whether the store takes checksums was not tried: no backup is stored yet.")
    elif use.tested is WriteTest.MANIFEST and use.keeps_checksums is False:
        yield Finding(
            "The vault's store does not keep SHA-256 checksums: an inventory cannot compare objects.",
            "the newest manifest has none",
            subject=use.bucket,
            severity=Severity.WARNING,
        )


@check(
    "VAULT_LOCKS_OFF",
    Severity.BLOCKER,
    VaultUse,
    fine="The bucket takes the locks that the stack asks for.",
    cure="Enable Object Lock on the bucket, or deploy with ObjectLock=off (docs/immutability.md).",
)
def vault_locks_off(use: VaultUse) -> Found:
    """Find a bucket without the Object Lock that the stack asks for."""
    if use.locks is not None:
        yield Finding(
            f"Backups are to be locked (ObjectLock={use.lock_mode}), and the bucket takes no locks.",
            str(use.locks),
            use.locks.hint,
            use.bucket,
        )


# --- whether locks hold ---


@check(
    "VAULT_LOCK_NOT_ENFORCED",
    Severity.BLOCKER,
    LockProbe,
    fine="A locked object cannot be deleted, and an unlocked one can.",
    cure="Take s3:BypassGovernanceRetention from every identity, and use a store that enforces Object Lock.",
)
def vault_lock_not_enforced(probe: LockProbe) -> Found:
    """Find a store that deletes a locked version."""
    if isinstance(probe.free_deleted, Refused):
        yield probe.free_deleted.unread("Whether locks hold")
    elif probe.locked_deleted is True:
        yield Finding(
            "A locked object could be deleted: the locks of this vault protect nothing.",
            f"a version of {probe.key}, locked in the mode {probe.mode}, was deleted",
        )
    elif isinstance(probe.locked_deleted, Refused) and not probe.locked_deleted.is_denied:
        yield probe.locked_deleted.unread("Whether locks hold")


# --- how it is set up ---


@check(
    "VAULT_VERSIONING_OFF",
    Severity.WARNING,
    VaultSettings,
    fine="The vault keeps deleted objects as older versions.",
    cure="Enable versioning on the bucket.",
)
def vault_versioning_off(vault: VaultSettings) -> Found:
    """Find a vault without versioning."""
    if isinstance(vault.versioning, Refused):
        yield vault.versioning.unread("Versioning of the vault")
    elif vault.versioning != "Enabled":
        yield Finding(
            "The vault has no versioning: what is deleted by mistake or by an attacker is lost immediately.",
            f"versioning: {vault.versioning}",
            f"aws s3api put-bucket-versioning --bucket {vault.bucket} --versioning-configuration Status=Enabled",
            vault.bucket,
        )


def _blocking(bucket: str) -> str:
    return (
        f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
        "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
    )


@check(
    "VAULT_PUBLIC",
    Severity.BLOCKER,
    VaultSettings,
    fine="The vault is not public.",
    cure="Block public access to the bucket.",
)
def vault_public(vault: VaultSettings) -> Found:
    """Find a vault that anyone can get into."""
    public = vault.public
    ways = [words for words, found in (("policy", public.by_policy), ("grants", public.by_grant)) if found is True]
    refused = [found for found in (public.by_policy, public.by_grant) if isinstance(found, Refused)]
    if public.blocked is True:
        return
    if ways:
        yield Finding(
            "The vault is public: anyone may list or read it.",
            f"public by its {' and its '.join(ways)}",
            _blocking(vault.bucket),
            vault.bucket,
        )
    elif refused:
        yield refused[0].unread("Whether the vault is public")


@check(
    "VAULT_PUBLIC_NOT_BLOCKED",
    Severity.WARNING,
    VaultSettings,
    fine="The vault's bucket blocks public access.",
    cure="Block public access to the bucket.",
)
def vault_public_not_blocked(vault: VaultSettings) -> Found:
    """Find a vault whose bucket does not refuse to become public."""
    if isinstance(vault.public.blocked, Refused):
        yield vault.public.blocked.unread("The public access block of the vault")
    elif not vault.public.blocked:
        yield Finding(
            "The vault's bucket does not block public access itself: one wrong policy would publish it.",
            "the public access block is missing, or has settings that are off",
            _blocking(vault.bucket),
            vault.bucket,
        )


@check(
    "VAULT_LIFECYCLE_EATS_PACKS",
    Severity.BLOCKER,
    VaultSettings,
    fine="The bucket's lifecycle leaves backups alone.",
    cure="Remove the rule, or limit it to a prefix outside the vault. Retention is Coffre's own (docs/retention.md).",
)
def vault_lifecycle_eats_packs(vault: VaultSettings) -> Found:
    """Find rules that delete or archive what backups are made of."""
    if isinstance(vault.lifecycle, Refused):
        yield vault.lifecycle.unread("The lifecycle of the vault")
        return
    for rule in vault.lifecycle:
        if (harm := _harm(rule, vault.prefix)) is not None:
            yield Finding(
                f'The lifecycle rule "{rule.id}" {harm}: what Coffre keeps cannot be restored then.',
                f'it is about keys that begin with "{rule.prefix}"',
                f"aws s3api get-bucket-lifecycle-configuration --bucket {vault.bucket}, then put it without this rule.",
                rule.id,
            )


def _harm(rule: LifecycleRule, vault_prefix: str) -> str | None:
    """Return what a rule does to current objects of backups, in words; None: nothing."""
    root = f"{vault_prefix}/" if vault_prefix else ""
    reaches = any((root + kept).startswith(rule.prefix) or rule.prefix.startswith(root + kept) for kept in _KEPT)
    if rule.needs_tag or not reaches:
        return None
    archives = sorted(_ARCHIVES.intersection(rule.archives_to))
    does = [*(["deletes objects"] if rule.expires else []), *(f"moves objects to {name}" for name in archives)]
    return " and ".join(does) or None


@check(
    "HISTORY_LEAVES_WITH_ACCOUNT",
    Severity.NOTE,
    VaultSettings,
    CopiesFacts,
    fine="The vault has a copy in another account, or outside of AWS.",
    cure="Add a copy in another account, at another provider or on a disk: coffre config edit (docs/copies.md).",
)
def history_leaves_with_account(vault: VaultSettings, copies: CopiesFacts) -> Found:
    """Find backups that are in one account alone."""
    if any(place.trouble is None and place.near is None for place in copies.places):
        return
    if isinstance(vault.copied_to, Refused):
        yield vault.copied_to.unread("Whether the vault is copied to another account")
    elif not vault.copied_to:
        yield Finding(
            "All backups are in one AWS account: they are lost with it when it is closed or taken over.",
            "no copy is elsewhere, and the bucket is not replicated to another account",
            subject=vault.bucket,
        )
