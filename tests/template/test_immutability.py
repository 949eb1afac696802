"""Object Lock and the vault's own key in the template: what each role may do, and what nobody may."""

from __future__ import annotations

from typing import Any

import pytest
from tests.template.policies import Decision, Principal, Request, decide
from tests.template.rendering import ACCOUNT, AS_COFFRE_CALLS, REGION, STACK, Rendered, read_template, render

VAULT = f"arn:aws:s3:::{STACK}-vaultbucket"
PACK = f"{VAULT}/v1/packs/01K9X000000000000000000000/0"
MANIFEST = f"{VAULT}/v1/backups/main/01K9X000000000000000000000/manifest.json"
KEY = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1234abcd-12ab-34cd-56ef-1234567890ab"
WRITERS = ("BackupDatabaseRole", "BackupStorageRole")
ROLES = (*WRITERS, "RestoreRole", "RotateRole", "DrillRole", "VerifyRole")
LOCKING = {
    "s3:PutObjectRetention": {*WRITERS, "RotateRole"},
    "s3:PutObjectLegalHold": {"RotateRole"},
    "s3:GetObjectRetention": {*WRITERS, "RotateRole", "VerifyRole"},
    "s3:GetObjectLegalHold": {*WRITERS, "RotateRole", "VerifyRole"},
}
LOCK = {"s3:object-lock-mode": "GOVERNANCE", "s3:object-lock-remaining-retention-days": "28"}
NEVER = (
    "s3:BypassGovernanceRetention",
    "s3:PutBucketObjectLockConfiguration",
    "s3:DeleteObjectVersion",
    "s3:PutBucketPolicy",
    "kms:ScheduleKeyDeletion",
    "kms:DisableKey",
    "kms:PutKeyPolicy",
)


@pytest.fixture(scope="module", params=["governance", "compliance"])
def locked(request: pytest.FixtureRequest) -> Rendered:
    return render(ObjectLock=request.param, ObjectLockMaxDays="800")


def bucket(stack: Rendered) -> dict[str, Any]:
    properties: dict[str, Any] = stack.resources["VaultBucket"]["Properties"]
    return properties


def mode_of(stack: Rendered) -> str:
    mode: str = stack.globals["Function"]["Environment"]["Variables"]["COFFRE_VAULT_OBJECT_LOCK"]
    return mode.upper()


def policy(stack: Rendered) -> dict[str, dict[str, Any]]:
    statements = stack.resources["VaultBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return {statement["Sid"]: statement for statement in statements}


def test_object_lock_is_off_unless_it_is_asked_for() -> None:
    plain = render()

    assert read_template()["Parameters"]["ObjectLock"]["Default"] == "off"
    assert "ObjectLockEnabled" not in bucket(plain)
    assert set(policy(plain)) == {"OnlyTls", "OnlyNewObjects"}
    for role in ROLES:
        assert not any(plain.allows(role, action, PACK) for action in LOCKING)


def test_the_bucket_gets_object_lock_without_a_default_retention(locked: Rendered) -> None:
    assert bucket(locked)["ObjectLockEnabled"] is True
    assert "ObjectLockConfiguration" not in bucket(locked)
    assert bucket(locked)["VersioningConfiguration"] == {"Status": "Enabled"}


def test_the_functions_know_the_mode_and_the_limit(locked: Rendered) -> None:
    variables = locked.globals["Function"]["Environment"]["Variables"]

    assert variables["COFFRE_VAULT_OBJECT_LOCK"] in {"governance", "compliance"}
    assert variables["COFFRE_VAULT_LOCK_MAX_DAYS"] == "800"


def test_nobody_bypasses_a_lock_or_sets_one_that_is_longer_than_allowed(locked: Rendered) -> None:
    bypass, longer = policy(locked)["NobodyBypassesLocks"], policy(locked)["NoLockIsLongerThanTheLongestTier"]

    assert (bypass["Effect"], bypass["Principal"], bypass["Action"]) == ("Deny", "*", "s3:BypassGovernanceRetention")
    assert (longer["Effect"], longer["Principal"]) == ("Deny", "*")
    assert set(longer["Action"]) == {"s3:PutObject", "s3:PutObjectRetention"}
    assert longer["Condition"] == {"NumericGreaterThan": {"s3:object-lock-remaining-retention-days": "800"}}
    assert bypass["Resource"] == longer["Resource"] == f"{VAULT}/*"


@pytest.mark.parametrize("action", LOCKING)
@pytest.mark.parametrize("role", ROLES)
def test_each_role_touches_locks_as_far_as_it_needs(role: str, action: str) -> None:
    locked = render(ObjectLock="governance", ObjectLockMaxDays="800")
    for resource in (PACK, MANIFEST):
        assert locked.allows(role, action, resource, {**AS_COFFRE_CALLS, **LOCK}) is (role in LOCKING[action]), resource
    if action.startswith("s3:Put"):
        for other in (f"{VAULT}/v1/restores/x.json", f"{VAULT}/scratch/x", f"{VAULT}/photo.jpg"):
            assert not locked.allows(role, action, other, {**AS_COFFRE_CALLS, **LOCK})


@pytest.mark.parametrize("role", sorted(LOCKING["s3:PutObjectRetention"]))
@pytest.mark.parametrize("mode", ["GOVERNANCE", "COMPLIANCE"])
def test_a_role_that_locks_does_so_in_the_stacks_mode_and_within_the_limit(role: str, mode: str) -> None:
    stack = render(ObjectLock=mode.lower(), ObjectLockMaxDays="800")
    other = {"GOVERNANCE": "COMPLIANCE", "COMPLIANCE": "GOVERNANCE"}[mode]

    def may(days: str, asked: str) -> bool:
        context = {"s3:object-lock-mode": asked, "s3:object-lock-remaining-retention-days": days}
        return stack.allows(role, "s3:PutObjectRetention", PACK, {**AS_COFFRE_CALLS, **context})

    assert may("800", mode)
    assert not may("801", mode)
    assert not may("28", other)
    assert not stack.allows(role, "s3:PutObjectRetention", PACK)  # a removal of the lock names neither


def test_not_even_an_administrator_bypasses_a_lock_or_sets_a_longer_one(locked: Rendered) -> None:
    admin = Principal("admin", statements=[{"Effect": "Allow", "Action": "*", "Resource": "*"}])
    rules = list(policy(locked).values())

    def may(action: str, **context: str) -> bool:
        return decide(admin, Request(action, PACK, {**AS_COFFRE_CALLS, **context}), rules) is Decision.ALLOWED

    days = "s3:object-lock-remaining-retention-days"
    assert not may("s3:BypassGovernanceRetention")
    for action in ("s3:PutObject", "s3:PutObjectRetention"):
        assert may(action, **{days: "800"})
        assert not may(action, **{days: "801"})


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_end_a_lock_or_destroy_the_key(role: str) -> None:
    stack = render(ObjectLock="governance", VaultKeyArn=KEY)
    for action in NEVER:
        for resource in (PACK, MANIFEST, VAULT, KEY):
            assert not stack.allows(role, action, resource), (action, resource)


def test_those_that_write_anchors_of_the_audit_lock_them(locked: Rendered) -> None:
    anchor = f"{VAULT}/v1/audit/anchors/01K9X000000000000000000000.json"
    for role in ROLES:
        expected = role in {"RotateRole", "VerifyRole"}
        context = {**AS_COFFRE_CALLS, **LOCK, "s3:object-lock-mode": mode_of(locked)}
        assert locked.allows(role, "s3:PutObjectRetention", anchor, context) is expected
        assert locked.allows(role, "s3:PutObject", anchor) is expected


def test_rotate_marks_holds_and_pins_and_writes_nothing_else_into_the_vault(locked: Rendered) -> None:
    folder = f"{VAULT}/v1/backups/main/01K9X000000000000000000000"

    assert locked.allows("RotateRole", "s3:PutObject", f"{folder}/marks/hold-01K9X000000000000000000000.json")
    assert locked.allows("RotateRole", "s3:PutObject", f"{folder}/marks/pin.json")
    for other in (PACK, MANIFEST, f"{folder}/marks/tier-DAILY.json"):
        assert not locked.allows("RotateRole", "s3:PutObject", other)


# --- a key of one's own ---


def test_without_a_key_of_ones_own_the_vault_uses_the_accounts_key() -> None:
    plain = render()
    [rule] = bucket(plain)["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert rule == {"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}
    for role in ROLES:
        assert not any(plain.allows(role, action, KEY) for action in ("kms:Decrypt", "kms:GenerateDataKey"))


def test_with_a_key_of_ones_own_the_vault_and_each_role_that_touches_it_use_that_key_through_s3_alone() -> None:
    stack = render(VaultKeyArn=KEY)
    [rule] = bucket(stack)["BucketEncryption"]["ServerSideEncryptionConfiguration"]

    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": KEY}
    assert rule["BucketKeyEnabled"] is True
    for role in ROLES:
        [statement] = [one for one in stack.statements(role) if one.get("Sid") == "UseTheVaultKey"]
        assert set(statement["Action"]) == {"kms:GenerateDataKey", "kms:Decrypt"}
        assert statement["Resource"] == KEY
        assert statement["Condition"] == {
            "StringEquals": {
                "kms:ViaService": f"s3.{REGION}.amazonaws.com",
                "kms:EncryptionContext:aws:s3:arn": VAULT,
            }
        }


def test_a_vault_that_is_taken_over_has_the_same_roles() -> None:
    stack = render(ExistingVaultBucket="old-vault", ObjectLock="governance", VaultKeyArn=KEY)

    pack = "arn:aws:s3:::old-vault/v1/packs/x/0"
    assert stack.allows("BackupDatabaseRole", "s3:PutObjectRetention", pack, {**AS_COFFRE_CALLS, **LOCK})
    [statement] = [one for one in stack.statements("VerifyRole") if one.get("Sid") == "UseTheVaultKey"]
    assert statement["Condition"]["StringEquals"]["kms:EncryptionContext:aws:s3:arn"] == "arn:aws:s3:::old-vault"
