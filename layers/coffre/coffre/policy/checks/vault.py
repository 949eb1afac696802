"""Checks of the vault: how its bucket is set up, and whether backups can be stored in it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from coffre.model.checkup import CheckResult
from coffre.policy.checks.answers import Refused
from coffre.policy.checks.code import blocker, note, warning
from coffre.policy.checks.vault_facts import LifecycleRule, LockProbe, Trouble, VaultSettings, VaultUse, WriteTest

UNREACHABLE: Final = blocker("VAULT_UNREACHABLE")
UNWRITABLE: Final = blocker("VAULT_UNWRITABLE")
REGION: Final = warning("VAULT_REGION")
CHECKSUM: Final = blocker("VAULT_CHECKSUM_UNSUPPORTED")
LOCK: Final = blocker("VAULT_LOCK_NOT_ENFORCED")
VERSIONING: Final = warning("VAULT_VERSIONING_OFF")
PUBLIC: Final = blocker("VAULT_PUBLIC")
NOT_BLOCKED: Final = warning("VAULT_PUBLIC_NOT_BLOCKED")
LIFECYCLE: Final = blocker("VAULT_LIFECYCLE_EATS_PACKS")
ONE_ACCOUNT: Final = note("HISTORY_LEAVES_WITH_ACCOUNT")

# Classes whose objects have to be restored before they can be read (S3 User Guide, "Storage classes").
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
# What must stay readable: everything below these, in the vault's folder.
_KEPT: Final = ("v1/backups/", "v1/packs/", "v1/audit/anchors/")


# --- what the function can do with it ---


def check_use(use: VaultUse) -> Iterator[CheckResult]:
    """Judge what the backup function saw with its own role."""
    if use.listed is not None:
        cure = use.listed.hint or "Check the vault's bucket and the role of the function."
        yield UNREACHABLE.found("The backup function cannot list the vault.", _words(use.listed), cure, use.bucket)
        return
    yield UNREACHABLE.ok("The backup function reaches the vault.", f"listed s3://{use.bucket}", use.bucket)
    yield from _check_region(use)
    yield from _check_writing(use)
    yield from _check_lock_setting(use)


def _check_region(use: VaultUse) -> Iterator[CheckResult]:
    if use.bucket_region is None or use.function_region is None:
        refused = Refused("s3:ListBucket", "The store does not say in which region the bucket is.")
        yield REGION.unseen("The region of the vault", refused, use.bucket)
        return
    evidence = f"bucket in {use.bucket_region}, functions in {use.function_region}"
    if use.bucket_region == use.function_region:
        yield REGION.ok("The vault is in the region of the functions.", evidence, use.bucket)
        return
    yield REGION.found(
        "The vault is in another region than the functions: every byte crosses regions, and is paid for.",
        evidence,
        f"Deploy the stack in {use.bucket_region}, or copy the vault to a bucket in {use.function_region} and take "
        "that over (docs/runbooks/ADOPT_A_VAULT.md).",
        use.bucket,
    )


def _check_writing(use: VaultUse) -> Iterator[CheckResult]:
    if use.tested is None:
        why = "No backup is stored yet, so that nothing could be tried without storing something."
        refused = Refused("s3:PutObject", f"{why} coffre doctor --probe stores a few bytes.")
        yield UNWRITABLE.unseen("Whether the function may write into the vault", refused, use.bucket)
        return
    how = "sent the newest manifest again" if use.tested is WriteTest.MANIFEST else "stored a small pack"
    if use.written is None:
        yield UNWRITABLE.ok("The backup function may write into the vault.", how, use.bucket)
    elif use.written.code != "CHECKSUM_UNSUPPORTED":
        cure = use.written.hint or "Check the role of the function and the policy of the bucket."
        yield UNWRITABLE.found(
            "The backup function cannot write into the vault.", _words(use.written), cure, use.bucket
        )
        return
    yield from _check_checksum(use)


def _check_checksum(use: VaultUse) -> Iterator[CheckResult]:
    if use.written is not None:
        cure = "Deploy with VaultChecksum=md5."
        yield CHECKSUM.found("The vault's store refuses SHA-256 checksums.", _words(use.written), cure, use.bucket)
    elif use.keeps_checksums is False:
        yield CHECKSUM.found(
            "The vault's store takes SHA-256 checksums, and does not keep them: an inventory cannot compare objects.",
            "the newest manifest has no checksum",
            "Deploy with VaultChecksum=md5: Coffre then keeps the SHA-256 in the object's metadata.",
            use.bucket,
        )
    elif use.keeps_checksums:
        yield CHECKSUM.ok("The vault's store checks and keeps SHA-256.", "the newest manifest has one", use.bucket)


def _check_lock_setting(use: VaultUse) -> Iterator[CheckResult]:
    if use.lock_mode == "off":
        return
    if use.locks is not None:
        cure = use.locks.hint or "Enable Object Lock on the bucket (docs/immutability.md)."
        yield LOCK.found("Backups are to be locked, and the bucket has no locks.", _words(use.locks), cure, use.bucket)
        return
    evidence = f"ObjectLock={use.lock_mode}, and enabled on the bucket; coffre doctor --probe tries to delete"
    yield LOCK.ok("The bucket takes locks.", evidence, use.bucket)


# --- whether locks hold ---


def check_probe(probe: LockProbe) -> Iterator[CheckResult]:
    """Judge the attempt to delete a locked object."""
    if isinstance(probe.free_deleted, Refused):
        yield LOCK.unseen("Whether locks hold", probe.free_deleted, probe.key)
    elif probe.locked_deleted is True:
        yield LOCK.found(
            "A locked object could be deleted: the locks of this vault protect nothing.",
            f"a version of {probe.key}, locked in the mode {probe.mode}, was deleted",
            "Take s3:BypassGovernanceRetention from every identity, and use a store that enforces Object Lock "
            "(docs/immutability.md). An emulator for tests does not.",
            probe.key,
        )
    elif isinstance(probe.locked_deleted, Refused) and probe.locked_deleted.is_denied:
        evidence = f"an unlocked version was deleted, the locked one was not: {probe.locked_deleted.why}"
        yield LOCK.ok("A locked object cannot be deleted.", evidence, probe.key)
    elif isinstance(probe.locked_deleted, Refused):
        yield LOCK.unseen("Whether locks hold", probe.locked_deleted, probe.key)


# --- how it is set up ---


def check_settings(vault: VaultSettings) -> Iterator[CheckResult]:
    """Judge how the bucket is set up."""
    yield _check_versioning(vault)
    yield from _check_public(vault)
    yield _check_lifecycle(vault)
    yield _check_copies(vault)


def _check_versioning(vault: VaultSettings) -> CheckResult:
    if isinstance(vault.versioning, Refused):
        return VERSIONING.unseen("Versioning of the vault", vault.versioning, vault.bucket)
    if vault.versioning == "Enabled":
        return VERSIONING.ok("The vault keeps what is deleted.", "versioning: Enabled", vault.bucket)
    return VERSIONING.found(
        "The vault has no versioning: a backup that is deleted by mistake or by an attacker is lost immediately.",
        f"versioning: {vault.versioning}",
        f"aws s3api put-bucket-versioning --bucket {vault.bucket} --versioning-configuration Status=Enabled",
        vault.bucket,
    )


def _check_public(vault: VaultSettings) -> Iterator[CheckResult]:
    public, bucket = vault.public, vault.bucket
    cure = (
        f"aws s3api put-public-access-block --bucket {bucket} --public-access-block-configuration "
        "BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true"
    )
    if public.blocked is True:
        yield PUBLIC.ok("The vault is not public.", "the bucket blocks public access", bucket)
        yield NOT_BLOCKED.ok("The bucket blocks public access.", "all four settings are on", bucket)
        return
    if isinstance(public.blocked, Refused):
        yield NOT_BLOCKED.unseen("The public access block of the vault", public.blocked, bucket)
    else:
        yield NOT_BLOCKED.found(
            "The vault's bucket does not block public access itself: one wrong policy would publish it.",
            "the public access block is missing or has settings that are off",
            cure,
            bucket,
        )
    ways = [words for words, found in (("policy", public.by_policy), ("grants", public.by_grant)) if found is True]
    refused = [found for found in (public.by_policy, public.by_grant) if isinstance(found, Refused)]
    if ways:
        evidence = f"public by its {' and its '.join(ways)}"
        yield PUBLIC.found("The vault is public: anyone may read or list backups.", evidence, cure, bucket)
    elif refused:
        yield PUBLIC.unseen("Whether the vault is public", refused[0], bucket)
    else:
        yield PUBLIC.ok("The vault is not public.", "neither its policy nor its grants", bucket)


def _check_lifecycle(vault: VaultSettings) -> CheckResult:
    if isinstance(vault.lifecycle, Refused):
        return LIFECYCLE.unseen("The lifecycle of the vault", vault.lifecycle, vault.bucket)
    harmful = [f"{rule.id}: {what}" for rule in vault.lifecycle if (what := _harm(rule, vault.prefix)) is not None]
    if not harmful:
        evidence = f"{len(vault.lifecycle)} rules are enabled, none about current objects of backups"
        return LIFECYCLE.ok("The bucket's lifecycle leaves backups alone.", evidence, vault.bucket)
    return LIFECYCLE.found(
        "The bucket's lifecycle deletes or archives what backups are made of: Coffre alone may decide that.",
        "; ".join(harmful),
        f"Remove these rules, or limit them to a prefix outside the vault: aws s3api "
        f"get-bucket-lifecycle-configuration --bucket {vault.bucket}. Retention is set in the configuration "
        "(docs/retention.md).",
        vault.bucket,
    )


def _check_copies(vault: VaultSettings) -> CheckResult:
    copies = vault.copied_to
    if isinstance(copies, Refused):
        return ONE_ACCOUNT.unseen("Whether the vault is copied to another account", copies, vault.bucket)
    if copies:
        evidence = f"replicated to {', '.join(copies)}"
        return ONE_ACCOUNT.ok("The vault has a copy in another account.", evidence, vault.bucket)
    return ONE_ACCOUNT.found(
        "All backups are in one AWS account: they are lost with it when it is closed or taken over.",
        "the bucket is not replicated to another account",
        "Replicate the bucket to one of another account, or copy it regularly (docs/immutability.md), and keep a "
        "recovery kit: coffre keys recovery-kit",
        vault.bucket,
    )


def _harm(rule: LifecycleRule, vault_prefix: str) -> str | None:
    """Return what a rule does to current objects of backups, in words; None: nothing."""
    root = f"{vault_prefix}/" if vault_prefix else ""
    reaches = any((root + kept).startswith(rule.prefix) or rule.prefix.startswith(root + kept) for kept in _KEPT)
    if rule.needs_tag or not reaches:
        return None
    archives = sorted(_ARCHIVES.intersection(rule.archives_to))
    does = [*(["deletes"] if rule.expires else []), *(f"moves to {name}" for name in archives)]
    return f'{" and ".join(does)} what begins with "{rule.prefix}"' if does else None


def _words(trouble: Trouble) -> str:
    return f"{trouble.code}: {trouble.message}"
