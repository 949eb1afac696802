"""The receiving account: with every role of the source account stolen, no copy there can be destroyed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.template.policies import Decision, Principal, Request, decide
from tests.template.rendering import ACCOUNT, AS_COFFRE_CALLS, Rendered, read_template, render, rendered

SOURCE = "444455556666"
COPY_ROLE = f"arn:aws:iam::{SOURCE}:role/coffre-CopyRole-1ABC"
VERIFY_ROLE = f"arn:aws:iam::{SOURCE}:role/coffre-VerifyRole-1ABC"
RESTORE_ROLE = f"arn:aws:iam::{SOURCE}:role/coffre-RestoreRole-1ABC"
EVERYTHING = [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]
PACK = "v1/packs/01K9X000000000000000000000/000001-00000000-0000"
MANIFEST = "v1/backups/main/01K9X000000000000000000000/manifest.json"
PIN = "v1/backups/main/01K9X000000000000000000000/marks/pin.json"
# What destroys a stored object, hides it, ends its protection, or takes over the bucket.
DESTROY = (
    "s3:DeleteObject",
    "s3:DeleteObjectVersion",
    "s3:BypassGovernanceRetention",
    "s3:PutObjectRetention",
    "s3:PutObjectLegalHold",
    "s3:PutObjectAcl",
    "s3:PutBucketPolicy",
    "s3:DeleteBucketPolicy",
    "s3:PutLifecycleConfiguration",
    "s3:PutBucketVersioning",
    "s3:PutReplicationConfiguration",
    "s3:PutEncryptionConfiguration",
    "s3:PutBucketObjectLockConfiguration",
    "s3:DeleteBucket",
)
OVERWRITES = {"aws:SecureTransport": "true", "s3:ObjectCreationOperation": "true"}


def receiver(**parameters: str) -> Rendered:
    readers = f"{VERIFY_ROLE},{RESTORE_ROLE}"
    return rendered(read_template("receiver.yaml"), {"CopyRoleArn": COPY_ROLE, "ReaderRoleArns": readers, **parameters})


@pytest.fixture(scope="module", params=["off", "governance", "compliance"])
def stack(request: pytest.FixtureRequest) -> Rendered:
    return receiver(ObjectLock=request.param)


def bucket_of(stack: Rendered) -> str:
    return stack.attribute("CopyBucket", "Arn")


def policy(stack: Rendered) -> list[dict[str, Any]]:
    statements: list[dict[str, Any]] = stack.resources["CopyBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    return statements


def across_accounts(stack: Rendered, arn: str, action: str, key: str, context: dict[str, str]) -> bool:
    """Decide about a call from another account: its own policies and the bucket's must both allow it.

    The thief has made his own policies allow everything: only the bucket's policy is left.
    """
    bucket = bucket_of(stack)
    resource = bucket if key == "" else f"{bucket}/{key}"
    caller = Principal("a thief", arn=arn)  # no own statement counts here: an allow of the bucket's is needed
    return decide(caller, Request(action, resource, {"aws:PrincipalArn": arn, **context}), policy(stack)) is (
        Decision.ALLOWED
    )


def thieves() -> list[str]:
    """Every role of the source's stack, and its administrators."""
    roles = render(CopyBuckets="x").of_type("AWS::IAM::Role")
    names = [f"arn:aws:iam::{SOURCE}:role/coffre-{name}-1ABC" for name in roles]
    assert COPY_ROLE in names
    assert VERIFY_ROLE in names
    return [*names, f"arn:aws:iam::{SOURCE}:role/Administrator", f"arn:aws:iam::{SOURCE}:user/root-like"]


@pytest.mark.parametrize("key", ["", PACK, MANIFEST, PIN])
def test_with_every_role_of_the_source_stolen_nothing_is_destroyed(stack: Rendered, key: str) -> None:
    for thief in thieves():
        for action in DESTROY:
            assert not across_accounts(stack, thief, action, key, AS_COFFRE_CALLS), (thief, action)
        assert not across_accounts(stack, thief, "s3:PutObject", key, OVERWRITES), thief


def test_the_copier_adds_and_reads_and_the_others_only_read(stack: Rendered) -> None:
    for key in (PACK, MANIFEST):
        assert across_accounts(stack, COPY_ROLE, "s3:PutObject", key, AS_COFFRE_CALLS)
        for reader in (COPY_ROLE, VERIFY_ROLE, RESTORE_ROLE):
            assert across_accounts(stack, reader, "s3:GetObject", key, AS_COFFRE_CALLS)
            assert across_accounts(stack, reader, "s3:ListBucket", "", AS_COFFRE_CALLS)
        assert not across_accounts(stack, VERIFY_ROLE, "s3:PutObject", key, AS_COFFRE_CALLS)
    assert not across_accounts(stack, COPY_ROLE, "s3:PutObject", "elsewhere/x", AS_COFFRE_CALLS)
    stranger = "arn:aws:iam::777788889999:role/coffre-CopyRole-1ABC"
    for action in ("s3:PutObject", "s3:GetObject"):
        assert not across_accounts(stack, stranger, action, PACK, AS_COFFRE_CALLS)
    plain = {**AS_COFFRE_CALLS, "aws:SecureTransport": "false"}
    assert not across_accounts(stack, COPY_ROLE, "s3:PutObject", PACK, plain)


def test_only_the_rotation_deletes_and_the_accounts_administrator_does_not(stack: Rendered) -> None:
    rotation = stack.attribute("RotateRole", "Arn")
    administrator = f"arn:aws:iam::{ACCOUNT}:role/Administrator"
    resource = f"{bucket_of(stack)}/{PACK}"

    def own(arn: str, statements: list[dict[str, Any]], action: str, context: dict[str, str]) -> Decision:
        caller = Principal(arn, arn=arn, statements=statements)
        return decide(caller, Request(action, resource, {"aws:PrincipalArn": arn, **context}), policy(stack))

    role = stack.statements("RotateRole")
    assert own(rotation, role, "s3:DeleteObject", AS_COFFRE_CALLS) is Decision.ALLOWED
    assert own(administrator, EVERYTHING, "s3:DeleteObject", AS_COFFRE_CALLS) is Decision.DENIED
    for arn, statements in ((rotation, role), (administrator, EVERYTHING)):
        for action in ("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention"):
            assert own(arn, statements, action, AS_COFFRE_CALLS) is Decision.DENIED
        assert own(arn, statements, "s3:PutObject", OVERWRITES) is Decision.DENIED
    # It cannot read what it deletes, and writes nothing.
    for action in ("s3:GetObject", "s3:PutObject", "s3:PutObjectRetention", "s3:PutBucketPolicy"):
        assert own(rotation, role, action, AS_COFFRE_CALLS) is Decision.NOT_ALLOWED


def test_the_bucket_keeps_versions_and_locks_what_arrives(stack: Rendered) -> None:
    bucket = stack.resources["CopyBucket"]["Properties"]
    mode = stack.functions()["RotateFunction"]["Environment"]["Variables"]["COFFRE_OBJECT_LOCK"]

    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    assert all(bucket["PublicAccessBlockConfiguration"].values())
    assert [
        rule.keys() & {"ExpirationInDays", "Transitions"} for rule in bucket["LifecycleConfiguration"]["Rules"]
    ] == [set()]
    if mode == "off":
        assert "ObjectLockEnabled" not in bucket
        assert "ObjectLockConfiguration" not in bucket
    else:
        retention = bucket["ObjectLockConfiguration"]["Rule"]["DefaultRetention"]
        assert (bucket["ObjectLockEnabled"], retention["Mode"]) == (True, mode.upper())
    assert stack.resources["CopyBucket"]["DeletionPolicy"] == "Retain"


def test_the_function_gets_the_settings_that_it_reads() -> None:
    from coffre.runtime.receiver_function import ReceiverSettings

    variables = receiver().functions()["RotateFunction"]["Environment"]["Variables"]

    settings = ReceiverSettings.from_env({name: str(value) for name, value in variables.items()})
    assert {f"COFFRE_{name.upper()}" for name in ReceiverSettings.model_fields} == set(variables)
    assert (settings.retention.daily_days, settings.retention.monthly_days) == (35, 400)
