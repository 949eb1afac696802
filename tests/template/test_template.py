"""template.yaml as CloudFormation reads it: what it makes, what it allows, what it starts and with which words."""

from __future__ import annotations

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from tests.template.policies import listed
from tests.template.rendering import (
    ACCOUNT,
    REGION,
    ROOT,
    STACK,
    Rendered,
    broken_rules,
    read_template,
    render,
    strings,
)

from coffre import __version__
from coffre.catalog.tables import table_definition
from coffre.model.backup import Backup, Status, Tier
from coffre.model.configuration import parse_configuration
from coffre.model.console import Console
from coffre.model.cron import SHORTEST_MINUTES
from coffre.model.errors import ConfigurationError
from coffre.model.verification import Level
from coffre.operations.accesses.read_logs import LOG_PREFIX
from coffre.runtime.environment import ConsoleSettings, NotifySettings, PostgresSettings, RestoreSettings, Settings
from coffre.runtime.event_bus import Announcer
from coffre.runtime.events.backup import (
    BackupDatabaseEvent,
    BackupStorageEvent,
    parse_database_backup,
    parse_storage_backup,
)
from coffre.runtime.events.copy import CopyEvent
from coffre.runtime.events.drill import DrillEvent
from coffre.runtime.events.journal import JournalEvent
from coffre.runtime.events.notify import NotifyEvent
from coffre.runtime.events.restore import parse_restore
from coffre.runtime.events.rotate import RotateEvent, parse_rotate
from coffre.runtime.events.verify import VerifyEvent
from coffre.vault.codec import new_identity, public_key
from coffre_console.downloads import KEPT
from coffre_local.conditions import DECIDED, decided
from coffre_local.schedule_rules import scheduled_event, target_input

BACKUP, RESTORE, ROTATE, DRILL = "BackupDatabaseFunction", "RestoreFunction", "RotateFunction", "DrillFunction"
COPY, JOURNAL = "CopyFunction", "JournalFunction"
STORAGE, STORAGE_ROLE = "BackupStorageFunction", "BackupStorageRole"
BACKUP_ROLE, RESTORE_ROLE, ROTATE_ROLE, DRILL_ROLE = "BackupDatabaseRole", "RestoreRole", "RotateRole", "DrillRole"
NOTIFY = "NotifyFunction"
CONSOLE = "ConsoleFunction"
MACHINE_ROLES = ("SpreadMachineRole", "SpreadRestoreMachineRole", "RangesMachineRole")
VERIFY, VERIFY_ROLE = "VerifyFunction", "VerifyRole"
ROLES = [BACKUP_ROLE, STORAGE_ROLE, RESTORE_ROLE, ROTATE_ROLE, DRILL_ROLE, VERIFY_ROLE]
SETTINGS: dict[str, type[Settings]] = {
    BACKUP: PostgresSettings,
    STORAGE: Settings,
    RESTORE: RestoreSettings,
    ROTATE: Settings,
    DRILL: PostgresSettings,
    VERIFY: Settings,
    JOURNAL: Settings,
    NOTIFY: NotifySettings,
    CONSOLE: ConsoleSettings,
}
EVENTS: dict[str, Callable[[object], object]] = {
    "backup_database": parse_database_backup,
    "backup_storage": parse_storage_backup,
    "restore": parse_restore,
    "rotate": parse_rotate,
    "copy": CopyEvent.parse,
    "drill": DrillEvent.parse,
    "verify": VerifyEvent.parse,
    "journal": JournalEvent.parse,
    "notify": NotifyEvent.parse,
}
TIERS = {"DailyBackupRule": Tier.DAILY, "WeeklyBackupRule": Tier.WEEKLY, "MonthlyBackupRule": Tier.MONTHLY}
STORAGE_TIERS = {"WeeklyStorageBackupRule": Tier.WEEKLY, "MonthlyStorageBackupRule": Tier.MONTHLY}
# 1 November 2026 is a Sunday.
SLOT = datetime(2026, 11, 1, 2, 0, tzinfo=UTC)

VAULT = f"arn:aws:s3:::{STACK}-vaultbucket"
PACK = "v1/packs/01K9X000000000000000000000/0"
MANIFEST = "v1/backups/main/01K9X000000000000000000000/manifest.json"
REPORT = "v1/restores/01K9X000000000000000000000/report.json"
SECRETS = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:"
RECIPIENTS = [public_key(new_identity()) for _ in range(2)]

S3_READS = ("s3:GetObject", "s3:GetObjectVersion")
S3_DELETES = ("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:DeleteObjects", "s3:DeleteBucket")
S3_RULES = (
    "s3:PutLifecycleConfiguration",
    "s3:PutBucketPolicy",
    "s3:PutBucketVersioning",
    "s3:PutEncryptionConfiguration",
    "s3:PutReplicationConfiguration",
)


@pytest.fixture(scope="module")
def template() -> dict[str, Any]:
    return read_template()


CONFIRMS = "GiveOutPlansAndTakeTheirTokens"


@pytest.fixture(scope="module", params=["", "team/prod"], ids=["whole bucket", "prefix"])
def deployed(request: pytest.FixtureRequest) -> Rendered:
    """The template with console and journal, for a vault that is a whole bucket, and for one below a prefix."""
    return render(VaultPrefix=request.param, Console="on", Journal="on")


@pytest.fixture(scope="module")
def prefix(deployed: Rendered) -> str:
    value = deployed.globals["Function"]["Environment"]["Variables"]["COFFRE_VAULT_PREFIX"]
    return f"{value}/" if value else ""


# --- storage ---


def test_the_table_is_the_one_that_the_catalog_expects(deployed: Rendered) -> None:
    properties = deployed.resources["CatalogTable"]["Properties"]

    assert {name: properties[name] for name in table_definition()} == table_definition()
    assert properties["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}


@pytest.mark.parametrize("name", ["VaultBucket", "CatalogTable", "AccessLogBucket", "ExportBucket"])
def test_storage_stays_when_the_stack_is_deleted_or_the_resource_is_replaced(deployed: Rendered, name: str) -> None:
    resource = deployed.resources[name]

    assert (resource["DeletionPolicy"], resource["UpdateReplacePolicy"]) == ("Retain", "Retain")


def test_nothing_but_storage_stays(deployed: Rendered) -> None:
    kept = {name for name, resource in deployed.resources.items() if resource.get("DeletionPolicy") == "Retain"}

    assert kept == {"VaultBucket", "CatalogTable", "AccessLogBucket", "ExportBucket"}


def test_the_vault_is_private_encrypted_and_versioned(deployed: Rendered) -> None:
    bucket = deployed.resources["VaultBucket"]["Properties"]

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["VersioningConfiguration"] == {"Status": "Enabled"}
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == "aws:kms"
    for rule in bucket["LifecycleConfiguration"]["Rules"]:
        assert not {"ExpirationInDays", "ExpirationDate", "Transitions"} & set(rule), (
            "backups never expire by themselves"
        )


def test_the_vault_refuses_calls_without_tls(deployed: Rendered) -> None:
    statement = deployed.resources["VaultBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"][0]

    assert (statement["Effect"], statement["Action"], statement["Principal"]) == ("Deny", "s3:*", "*")
    assert statement["Resource"] == [VAULT, f"{VAULT}/*"]
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


# --- accesses to the vault ---

LOGS = f"arn:aws:s3:::{STACK}-accesslogbucket"


def test_accesses_are_logged_only_when_that_is_wanted(template: dict[str, Any]) -> None:
    for name in ("AccessLogBucket", "AccessLogBucketPolicy"):
        assert template["Resources"][name]["Condition"] == "HasAccessLogs"
    assert template["Outputs"]["AccessLogBucket"]["Condition"] == "HasAccessLogs"

    off, on = render(), render(AccessLogs="on")
    assert "LoggingConfiguration" not in off.resources["VaultBucket"]["Properties"]
    assert on.resources["VaultBucket"]["Properties"]["LoggingConfiguration"] == {
        "DestinationBucketName": f"{STACK}-accesslogbucket",
        "LogFilePrefix": LOG_PREFIX,
        "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}},
    }
    assert off.functions()[VERIFY]["Environment"]["Variables"]["COFFRE_ACCESS_LOG_BUCKET"] == ""
    assert on.functions()[VERIFY]["Environment"]["Variables"]["COFFRE_ACCESS_LOG_BUCKET"] == f"{STACK}-accesslogbucket"


def test_the_stack_says_which_version_it_is_of(template: dict[str, Any]) -> None:
    assert template["Outputs"]["Version"]["Value"] == __version__


def test_the_logs_are_private_encrypted_and_expire() -> None:
    bucket = render(AccessLogs="on", AccessLogDays="400").resources["AccessLogBucket"]["Properties"]

    assert set(bucket["PublicAccessBlockConfiguration"].values()) == {True}
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    # Log delivery can use no KMS key.
    [rule] = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"] == {"SSEAlgorithm": "AES256"}
    [rule] = bucket["LifecycleConfiguration"]["Rules"]
    assert (rule["Status"], rule["ExpirationInDays"]) == ("Enabled", "400")
    assert int(read_template()["Parameters"]["AccessLogDays"]["Default"]) > 100


@pytest.mark.parametrize(("existing", "vault"), [("", f"{STACK}-vaultbucket"), ("old-vault", "old-vault")])
def test_only_s3_writes_logs_and_only_those_of_this_vault(existing: str, vault: str) -> None:
    resources = render(AccessLogs="on", ExistingVaultBucket=existing).resources
    policy = resources["AccessLogBucketPolicy"]["Properties"]["PolicyDocument"]
    write, tls = policy["Statement"]

    assert (write["Effect"], write["Principal"]) == ("Allow", {"Service": "logging.s3.amazonaws.com"})
    assert (write["Action"], write["Resource"]) == ("s3:PutObject", f"{LOGS}/{LOG_PREFIX}*")
    assert write["Condition"] == {
        "ArnEquals": {"aws:SourceArn": f"arn:aws:s3:::{vault}"},
        "StringEquals": {"aws:SourceAccount": ACCOUNT},
    }
    assert (tls["Effect"], tls["Action"], tls["Principal"]) == ("Deny", "s3:*", "*")
    assert tls["Resource"] == [LOGS, f"{LOGS}/*"]
    assert tls["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize("role", ROLES)
def test_only_the_verify_role_reads_the_logs_and_none_changes_them(role: str) -> None:
    on, off = render(AccessLogs="on"), render()
    for action, resource in (("s3:ListBucket", LOGS), ("s3:GetObject", f"{LOGS}/{LOG_PREFIX}{ACCOUNT}/x")):
        assert on.allows(role, action, resource) is (role == VERIFY_ROLE)
        assert not off.allows(role, action, resource)
    for action in (*S3_DELETES, *S3_RULES, "s3:PutObject"):
        assert not on.allows(role, action, LOGS)
        assert not on.allows(role, action, f"{LOGS}/{LOG_PREFIX}{ACCOUNT}/x")


def test_verify_knows_every_role_that_reaches_the_vault(
    template: dict[str, Any], deployed: Rendered, prefix: str
) -> None:
    own = deployed.functions()[VERIFY]["Environment"]["Variables"]["COFFRE_OWN_ROLES"].split(",")

    reaching = [
        role
        for role in deployed.of_type("AWS::IAM::Role")
        if any(
            deployed.allows(role, f"s3:{what}Object", f"{VAULT}/{prefix}{MANIFEST}")
            for what in ("Get", "Put", "Delete")
        )
    ]
    assert sorted(own) == sorted(f"{STACK}-{role.lower()}" for role in reaching)
    assert (
        template["Outputs"]["OwnRoles"]["Value"]
        == template["Resources"][VERIFY]["Properties"]["Environment"]["Variables"]["COFFRE_OWN_ROLES"]
    )


@pytest.mark.parametrize("function", ["RestoreFunction", "RotateFunction"])
def test_who_takes_approvals_knows_the_roles_that_are_no_person(deployed: Rendered, function: str) -> None:
    said = deployed.functions()[function]["Environment"]["Variables"]["COFFRE_OWN_ROLES"].split(",")

    functions = {one["Role"].rpartition("/")[2] for one in deployed.functions().values()}
    assert {f"{STACK}-{name.lower()}" for name in ("ConsoleRole", "DownloadRole", "RestoreRole", "RotateRole")} <= {
        *said
    }
    assert functions - {*said} == {f"{STACK}-notifyrole"}  # which may invoke no function


def test_expected_principals_get_into_the_document() -> None:
    expected = ("arn:aws:iam::111122223333:user/alice", "arn:aws:sts::111122223333:assumed-role/Operators/*")
    text = document(AgeRecipients=RECIPIENTS[0], SourceBuckets="uploads", ExpectedPrincipals=", ".join(expected))

    assert parse_configuration(text, where="the template").access.expected == expected
    assert parse_configuration(document(AgeRecipients=RECIPIENTS[0]), where="the template").access.expected == ()


# --- least privilege ---


def test_the_backup_role_stores_and_reads_its_own_records(deployed: Rendered, prefix: str) -> None:
    for key in (PACK, MANIFEST):
        assert deployed.allows(BACKUP_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}")
    assert deployed.allows(BACKUP_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{MANIFEST}")
    assert deployed.allows(BACKUP_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/database/main-AbCdEf")


@pytest.mark.parametrize("action", [*S3_READS, "s3:GetObjectAttributes", "s3:GetObjectTorrent"])
def test_the_backup_role_cannot_read_packs(deployed: Rendered, prefix: str, action: str) -> None:
    assert not deployed.allows(BACKUP_ROLE, action, f"{VAULT}/{prefix}{PACK}")


@pytest.mark.parametrize("role", [BACKUP_ROLE, STORAGE_ROLE, RESTORE_ROLE, DRILL_ROLE, VERIFY_ROLE])
def test_no_role_but_rotate_can_delete_from_the_vault(deployed: Rendered, prefix: str, role: str) -> None:
    for resource in (VAULT, f"{VAULT}/{prefix}{PACK}", f"{VAULT}/{prefix}{MANIFEST}"):
        assert not deployed.allows(role, "s3:DeleteObject", resource), resource


@pytest.mark.parametrize("role", ROLES)
def test_no_role_can_delete_for_good_or_change_the_rules_of_the_vault(
    deployed: Rendered, prefix: str, role: str
) -> None:
    for action in (*S3_DELETES[1:], *S3_RULES, "s3:PutObjectRetention", "s3:BypassGovernanceRetention"):
        for resource in (VAULT, f"{VAULT}/{prefix}{PACK}", f"{VAULT}/{prefix}{MANIFEST}"):
            assert not deployed.allows(role, action, resource), (action, resource)


def test_only_the_rotation_deletes_in_copies_and_verification_only_reads_there() -> None:
    deployed = render(CopyBuckets="acme-offsite,acme-second")
    for bucket in ("acme-offsite", "acme-second"):
        for key in (PACK, MANIFEST, f"coffre/{PACK}"):
            place = f"arn:aws:s3:::{bucket}/{key}"
            deleters = {role for role in ROLES if deployed.allows(role, "s3:DeleteObject", place)}
            assert deleters == {ROTATE_ROLE}
            for action in (*S3_DELETES[1:], *S3_RULES, "s3:BypassGovernanceRetention"):
                assert not any(deployed.allows(role, action, place) for role in ROLES), action
            assert deployed.allows(VERIFY_ROLE, "s3:GetObject", place)
            assert not deployed.allows(VERIFY_ROLE, "s3:PutObject", place)
        assert not deployed.allows(ROTATE_ROLE, "s3:GetObject", f"arn:aws:s3:::{bucket}/{PACK}")
    assert not deployed.allows(ROTATE_ROLE, "s3:DeleteObject", f"arn:aws:s3:::another/{PACK}")


def test_the_rotate_role_deletes_backups_and_nothing_else(deployed: Rendered, prefix: str) -> None:
    for key in (PACK, MANIFEST):
        assert deployed.allows(ROTATE_ROLE, "s3:DeleteObject", f"{VAULT}/{prefix}{key}")
    for key in (REPORT, "v1/anything", "v2/packs/x", "photos/cat.jpg"):
        assert not deployed.allows(ROTATE_ROLE, "s3:DeleteObject", f"{VAULT}/{prefix}{key}")


def test_the_rotate_role_reads_manifests_and_writes_nothing(deployed: Rendered, prefix: str) -> None:
    assert deployed.allows(ROTATE_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{MANIFEST}")
    assert not deployed.allows(ROTATE_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{PACK}")
    for key in (PACK, MANIFEST, REPORT):
        assert not deployed.allows(ROTATE_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}")
    for secret in ("coffre/identity/main-AbCdEf", "coffre/database/main-AbCdEf", "coffre/destination/x-AbCdEf"):
        assert not deployed.allows(ROTATE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")
    assert not deployed.allows(ROTATE_ROLE, "lambda:InvokeFunction", f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:x")


def test_the_rotate_role_changes_backups_and_its_lock_and_adds_audit_events(deployed: Rendered) -> None:
    assert partitions(deployed, ROTATE_ROLE) == {
        "dynamodb:UpdateItem": {"BACKUP", "RESTORE", "LOCK", "AUDITHEAD", "CONFIRM", "USAGE", "APIKEY"},
        "dynamodb:PutItem": {"LOCK", "ALERT", "AUDIT#*", "CONFIRM", "CONFIG", "VAULT", "COPY", "APIKEY"},
        "dynamodb:DeleteItem": {"LOCK", "CONFIRM"},
    }


def partitions(deployed: Rendered, role: str) -> dict[str, set[str]]:
    """Return which partitions of the catalog a role writes, by action; every statement that writes must limit them."""
    found: dict[str, set[str]] = {}
    for statement in deployed.statements(role):
        for action in listed(statement["Action"]):
            if action.startswith("dynamodb:") and action not in ("dynamodb:GetItem", "dynamodb:Query"):
                condition = statement["Condition"]
                (limit,) = condition.keys() - {"Null"}
                assert limit in ("ForAllValues:StringEquals", "ForAllValues:StringLike"), statement
                found.setdefault(action, set()).update(listed(condition[limit]["dynamodb:LeadingKeys"]))
    return found


@pytest.mark.parametrize("role", ROLES)
def test_every_role_adds_audit_events_and_none_changes_or_deletes_one(deployed: Rendered, role: str) -> None:
    wanted = partitions(deployed, role)

    assert "AUDIT#*" in wanted["dynamodb:PutItem"]
    assert "AUDITHEAD" in wanted["dynamodb:UpdateItem"]
    assert not {"AUDIT", "AUDITHEAD"} & wanted["dynamodb:PutItem"], "a head moves only in step with an event"
    for action in wanted.keys() - {"dynamodb:PutItem"}:
        assert not any(key.startswith("AUDIT#") or key in ("AUDIT", "*") for key in wanted[action]), action
    # A request without keys must not count as one of allowed keys
    for statement in deployed.statements(role):
        if statement["Sid"] in ("RecordAuditEvents", "MoveAuditHeads"):
            assert statement["Condition"]["Null"] == {"dynamodb:LeadingKeys": "false"}


def test_only_verify_and_rotate_write_anchors_and_no_role_deletes_one(deployed: Rendered, prefix: str) -> None:
    anchor = f"{VAULT}/{prefix}v1/audit/anchors/01K9X000000000000000000000.json"
    assert {role for role in ROLES if deployed.allows(role, "s3:GetObject", anchor)} >= {ROTATE_ROLE, VERIFY_ROLE}
    writers = {role for role in ROLES if deployed.allows(role, "s3:PutObject", anchor)}
    assert writers - {BACKUP_ROLE, STORAGE_ROLE} == {ROTATE_ROLE, VERIFY_ROLE}
    for action in S3_DELETES:
        assert [role for role in ROLES if deployed.allows(role, action, anchor)] == []


def test_the_drill_role_reads_backups_and_the_identity_and_writes_reports_alone(
    deployed: Rendered, prefix: str
) -> None:
    report = "v1/backups/main/01K9X000000000000000000000/reports/drill-01K9X000000000000000000001.json"
    for key in (PACK, MANIFEST, report):
        assert deployed.allows(DRILL_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{key}")
    for suffix in ("json", "html"):
        assert deployed.allows(DRILL_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{report[:-4]}{suffix}")
    finding = report.replace("drill-", "damage-")
    assert deployed.allows(DRILL_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{finding}")
    marks = MANIFEST.replace("manifest.json", "marks/pin.json")
    for key in (PACK, MANIFEST, REPORT, marks, MANIFEST.replace("manifest.json", "reports/verify-1.json")):
        assert not deployed.allows(DRILL_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}"), key
    for secret in ("coffre/identity/main-AbCdEf", "coffre/identity/main/shop-AbCdEf"):
        assert deployed.allows(DRILL_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")
    for secret in ("coffre/identity/other-AbCdEf", "coffre/database/main-AbCdEf", "coffre/destination/x-AbCdEf"):
        assert not deployed.allows(DRILL_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")


@pytest.mark.parametrize("vault_prefix", ["", "safe/here"])
def test_the_drill_role_restores_objects_below_scratch_alone(vault_prefix: str) -> None:
    stack = render(VaultPrefix=vault_prefix)
    start = f"{vault_prefix}/".removeprefix("/")
    copy = f"{VAULT}/{start}scratch/01K9X000000000000000000001/photos/a.txt"
    needed = ["s3:PutObject", "s3:PutObjectTagging", "s3:GetObject", "s3:GetObjectTagging", "s3:DeleteObject"]
    for action in needed:
        assert stack.allows(DRILL_ROLE, action, copy), action
    assert [role for role in ROLES if stack.allows(role, "s3:GetObject", copy)] == [DRILL_ROLE]
    assert [role for role in ROLES if stack.allows(role, "s3:DeleteObject", copy)] == [DRILL_ROLE]
    # A target and a bucket can be called so too
    others_keys = (PACK, MANIFEST, "v1/backups/scratch/01K9X000000000000000000000/manifest.json", "v1/scratch/a")
    for key in others_keys:
        for action in ("s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject", "s3:DeleteObjectVersion"):
            assert not stack.allows(DRILL_ROLE, action, f"{VAULT}/{start}{key}"), (action, key)
    assert not stack.allows(DRILL_ROLE, "s3:DeleteObjectVersion", copy)


@pytest.mark.parametrize(("vault_prefix", "folder"), [("", "scratch/"), ("safe/here", "safe/here/scratch/")])
def test_what_drills_restored_is_forgotten_after_a_day(vault_prefix: str, folder: str) -> None:
    [bucket] = [one for name, one in render(VaultPrefix=vault_prefix).resources.items() if name == "VaultBucket"]
    [rule] = [one for one in bucket["Properties"]["LifecycleConfiguration"]["Rules"] if "Prefix" in one]
    assert (rule["Prefix"], rule["NoncurrentVersionExpiration"]) == (folder, {"NoncurrentDays": 1})
    assert rule["ExpiredObjectDeleteMarker"]


def test_the_drill_role_starts_itself(deployed: Rendered) -> None:
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}"
    assert deployed.allows(DRILL_ROLE, "lambda:InvokeFunction", f"{function}-drill")
    assert not deployed.allows(DRILL_ROLE, "lambda:InvokeFunction", f"{function}-backup-database")


def test_the_verify_role_reads_everything_and_writes_only_reports(deployed: Rendered, prefix: str) -> None:
    for key in (PACK, MANIFEST):
        assert deployed.allows(VERIFY_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{key}")
    damage = MANIFEST.replace("manifest.json", "reports/damage-01K9X000000000000000000001.json")
    assert deployed.allows(VERIFY_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{damage}")
    for key in (PACK, MANIFEST, REPORT, MANIFEST.replace("manifest.json", "marks/pin.json")):
        assert not deployed.allows(VERIFY_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}")


def test_the_verify_role_has_the_identity_and_no_address_of_a_database(deployed: Rendered) -> None:
    allowed = {
        secret: deployed.allows(VERIFY_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")
        for secret in (
            *("coffre/identity/main-AbCdEf", "coffre/identity/main/shop-AbCdEf", "coffre/identity/mainly-AbCdEf"),
            *("coffre/database/main-AbCdEf", "coffre/destination/x-AbCdEf"),
        )
    }

    assert list(allowed.values()) == [True, True, False, False, False]
    functions = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function"
    assert deployed.allows(VERIFY_ROLE, "lambda:InvokeFunction", f"{functions}:{STACK}-verify")
    assert not deployed.allows(VERIFY_ROLE, "lambda:InvokeFunction", f"{functions}:{STACK}-rotate")


def test_the_storage_role_stores_and_reads_its_own_records(deployed: Rendered, prefix: str) -> None:
    for key in (PACK, MANIFEST):
        assert deployed.allows(STORAGE_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}")
    assert deployed.allows(STORAGE_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{MANIFEST}")
    assert not deployed.allows(STORAGE_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{PACK}")
    assert deployed.allows(STORAGE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/storage/r2-AbCdEf")
    for secret in ("coffre/identity/main-AbCdEf", "coffre/database/main-AbCdEf", "coffre/destination/x-AbCdEf"):
        assert not deployed.allows(STORAGE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")
    function = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}"
    assert deployed.allows(STORAGE_ROLE, "lambda:InvokeFunction", f"{function}-backup-storage")
    assert not deployed.allows(STORAGE_ROLE, "lambda:InvokeFunction", f"{function}-backup-database")


@pytest.mark.parametrize("names", ["photos", "photos,team.files"])
def test_the_storage_role_reads_the_buckets_that_are_named_and_changes_none(names: str) -> None:
    deployed = render(SourceBuckets=names)

    for name in names.split(","):
        bucket = f"arn:aws:s3:::{name}"
        for action in ("s3:ListBucket", "s3:GetBucketOwnershipControls"):
            assert deployed.allows(STORAGE_ROLE, action, bucket)
        for action in ("s3:GetObject", "s3:GetObjectTagging", "s3:GetObjectAcl"):
            assert deployed.allows(STORAGE_ROLE, action, f"{bucket}/a/b.jpg"), action
        for action in ("s3:PutObject", "s3:PutObjectTagging", "s3:DeleteObject"):
            assert not deployed.allows(STORAGE_ROLE, action, f"{bucket}/a/b.jpg")
    assert not deployed.allows(STORAGE_ROLE, "s3:GetObject", "arn:aws:s3:::other/a")
    assert not deployed.allows(STORAGE_ROLE, "s3:GetObject", "arn:aws:s3:::photos-two/a")


def test_the_storage_role_reads_no_bucket_and_no_key_that_nobody_named(deployed: Rendered) -> None:
    key = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
    readable = {
        resource
        for statement in deployed.statements(STORAGE_ROLE)
        if any(action.startswith(("s3:Get", "s3:List")) for action in listed(statement["Action"]))
        for resource in listed(statement["Resource"])
    }

    assert all(resource.startswith(VAULT) for resource in readable)
    assert not deployed.allows(STORAGE_ROLE, "kms:Decrypt", key)
    assert render(SourceKeys=key).allows(STORAGE_ROLE, "kms:Decrypt", key)


def test_only_the_backup_roles_announce_and_only_on_the_default_bus(deployed: Rendered) -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus"

    assert {role for role in ROLES if deployed.allows(role, "events:PutEvents", f"{bus}/default")} == {
        BACKUP_ROLE,
        STORAGE_ROLE,
    }
    for role in (BACKUP_ROLE, STORAGE_ROLE):
        assert not deployed.allows(role, "events:PutEvents", f"{bus}/other")


@pytest.mark.parametrize(
    "secret",
    [
        *("coffre/identity/main-AbCdEf", "coffre/identity/main/shop-AbCdEf", "coffre/identity/other-AbCdEf"),
        "another/app-AbCdEf",
    ],
)
def test_the_backup_role_cannot_read_an_identity(deployed: Rendered, secret: str) -> None:
    assert not deployed.allows(BACKUP_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")


@pytest.mark.parametrize("role", [BACKUP_ROLE, RESTORE_ROLE])
def test_the_arn_of_rds_own_secret_is_allowed_and_no_other(role: str) -> None:
    """A restore reads it too: tables and rows go back into the target's own database."""
    arn = f"{SECRETS}rds!db-1234-AbCdEf"
    deployed = render(DatabaseSecret=arn)

    assert deployed.allows(role, "secretsmanager:GetSecretValue", arn)
    assert not deployed.allows(role, "secretsmanager:GetSecretValue", f"{SECRETS}rds!db-9999-AbCdEf")


def test_the_restore_role_reads_everything_it_needs(deployed: Rendered, prefix: str) -> None:
    for key in (PACK, MANIFEST):
        assert deployed.allows(RESTORE_ROLE, "s3:GetObject", f"{VAULT}/{prefix}{key}")
    assert deployed.allows(RESTORE_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{REPORT}")
    for secret in (
        *("coffre/identity/main-AbCdEf", "coffre/identity/main/shop-AbCdEf"),
        "coffre/destination/01K9X-AbCdEf",
    ):
        assert deployed.allows(RESTORE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}{secret}")


@pytest.mark.parametrize("key", [PACK, MANIFEST, "v1/backups/main/tier", "v1/anything"])
def test_the_restore_role_cannot_write_what_a_backup_is_made_of(deployed: Rendered, prefix: str, key: str) -> None:
    assert not deployed.allows(RESTORE_ROLE, "s3:PutObject", f"{VAULT}/{prefix}{key}")


OBJECT_ACTIONS = (
    *("s3:PutObject", "s3:PutObjectTagging", "s3:AbortMultipartUpload"),
    *("s3:GetObject", "s3:GetObjectTagging", "s3:DeleteObject"),
)
BUCKET_ACTIONS = ("s3:ListBucket", "s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration")


def test_the_restore_role_writes_to_the_buckets_that_are_named_and_no_others(deployed: Rendered, prefix: str) -> None:
    named = render(RestoreBuckets="photos, docs.example", VaultPrefix=prefix.rstrip("/"))
    photos, docs = "arn:aws:s3:::photos", "arn:aws:s3:::docs.example"

    for bucket in (photos, docs):
        for action in OBJECT_ACTIONS:
            assert named.allows(RESTORE_ROLE, action, f"{bucket}/a/b"), action
            assert not deployed.allows(RESTORE_ROLE, action, f"{bucket}/a/b"), action
        for action in BUCKET_ACTIONS:
            assert named.allows(RESTORE_ROLE, action, bucket), action
            assert not deployed.allows(RESTORE_ROLE, action, bucket), action
    for action in (*OBJECT_ACTIONS[:3], *OBJECT_ACTIONS[5:]):
        for other in ("arn:aws:s3:::photos-old/a", f"{VAULT}/{prefix}{PACK}", f"{VAULT}/{prefix}{MANIFEST}"):
            assert not named.allows(RESTORE_ROLE, action, other), (action, other)
    for action in (*S3_RULES, "s3:DeleteObjectVersion", "s3:DeleteBucket", "s3:PutObjectAcl", "s3:CreateBucket"):
        for resource in (photos, f"{photos}/a"):
            assert not named.allows(RESTORE_ROLE, action, resource), action


def test_the_restore_role_reads_the_keys_of_other_stores(deployed: Rendered) -> None:
    assert deployed.allows(RESTORE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/storage/r2-AbCdEf")
    assert not deployed.allows(ROTATE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/storage/r2-AbCdEf")


def test_the_restore_role_reads_the_identity_it_is_told_and_no_other() -> None:
    deployed = render(IdentitySecret="coffre/identity/team")

    assert deployed.allows(RESTORE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/identity/team-AbCdEf")
    assert not deployed.allows(
        RESTORE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/identity/team-two-AbCdEf"
    )
    assert not deployed.allows(RESTORE_ROLE, "secretsmanager:GetSecretValue", f"{SECRETS}coffre/identity/main-AbCdEf")


@pytest.mark.parametrize("role", ROLES)
def test_no_role_touches_other_secrets_tables_topics_queues_or_functions(deployed: Rendered, role: str) -> None:
    elsewhere = f"{REGION}:{ACCOUNT}"
    assert not deployed.allows(role, "secretsmanager:PutSecretValue", f"{SECRETS}coffre/database/main-AbCdEf")
    assert not deployed.allows(role, "dynamodb:PutItem", f"arn:aws:dynamodb:{elsewhere}:table/other")
    assert not deployed.allows(role, "dynamodb:DeleteTable", f"arn:aws:dynamodb:{elsewhere}:table/{STACK}-catalogtable")
    assert not deployed.allows(role, "sns:Publish", f"arn:aws:sns:{elsewhere}:other")
    assert not deployed.allows(role, "sqs:ReceiveMessage", f"arn:aws:sqs:{elsewhere}:{STACK}-failedevents")
    assert not deployed.allows(
        role, "ssm:PutParameter", f"arn:aws:ssm:{elsewhere}:parameter/coffre/{STACK}/configuration"
    )
    # It goes on in another invocation of itself.
    restore = f"arn:aws:lambda:{elsewhere}:function:{STACK}-restore"
    assert deployed.allows(role, "lambda:InvokeFunction", restore) is (role == RESTORE_ROLE)


def test_only_traces_have_a_wildcard_and_no_action_has_one(deployed: Rendered) -> None:
    for role in deployed.of_type("AWS::IAM::Role"):
        for statement in deployed.statements(role):
            assert statement["Effect"] == "Allow"
            assert not [action for action in listed(statement["Action"]) if "*" in action], statement
            if "*" in listed(statement["Resource"]):
                assert {action.partition(":")[0] for action in listed(statement["Action"])} == {"xray"}, statement
            else:
                # Executions of one state machine have names of their own.
                named = (":logs:", f":execution:{STACK}-spread", f":execution:{STACK}-ranges")
                wide = [one for one in listed(statement["Resource"]) if one.endswith(":*")]
                assert not [one for one in wide if not any(name in one for name in named)]


def test_settings_may_be_read_that_were_named_and_never_a_private_key() -> None:
    where = f"{REGION}:{ACCOUNT}"
    secret, parameter = f"arn:aws:secretsmanager:{where}:secret:", f"arn:aws:ssm:{where}:parameter"
    named = render(SettingsSecrets=f"{secret}app/*", SettingsParameters=f"{parameter}/app/*")
    every = render(SettingsSecrets=f"{secret}*")

    for role in ROLES:
        is_reader = role == STORAGE_ROLE
        assert named.allows(role, "secretsmanager:GetSecretValue", f"{secret}app/db-AbCdEf") is is_reader
        assert named.allows(role, "ssm:GetParameter", f"{parameter}/app/token") is is_reader
        assert not named.allows(role, "secretsmanager:PutSecretValue", f"{secret}app/db-AbCdEf")
        assert not named.allows(role, "ssm:PutParameter", f"{parameter}/app/token")
    assert not render().allows(STORAGE_ROLE, "secretsmanager:GetSecretValue", f"{secret}app/db-AbCdEf")
    assert not render().allows(STORAGE_ROLE, "secretsmanager:ListSecrets", "*")
    assert every.allows(STORAGE_ROLE, "secretsmanager:GetSecretValue", f"{secret}app/db-AbCdEf")
    assert not every.allows(STORAGE_ROLE, "secretsmanager:GetSecretValue", f"{secret}coffre/identity/main-AbCdEf")


def test_every_statement_says_what_it_is_for(deployed: Rendered) -> None:
    for role in deployed.of_type("AWS::IAM::Role"):
        names = [statement["Sid"] for statement in deployed.statements(role)]
        assert len(names) == len(set(names))


def test_two_roles_give_out_plans_and_take_their_tokens_and_touch_nothing_else_by_that(deployed: Rendered) -> None:
    found = {
        role: statement
        for role in deployed.of_type("AWS::IAM::Role")
        for statement in deployed.statements(role)
        if statement["Sid"] == CONFIRMS
    }

    assert set(found) == {RESTORE_ROLE, ROTATE_ROLE}
    for statement in found.values():
        assert {action.removeprefix("dynamodb:") for action in statement["Action"]} == {
            "GetItem",
            "Query",
            "PutItem",
            "UpdateItem",
            "DeleteItem",
        }
        assert statement["Condition"] == {
            "Null": {"dynamodb:LeadingKeys": "false"},
            "ForAllValues:StringEquals": {"dynamodb:LeadingKeys": ["CONFIRM"]},
        }


def test_expired_plans_are_deleted_from_the_catalog(deployed: Rendered) -> None:
    properties = deployed.resources["CatalogTable"]["Properties"]

    assert properties["TimeToLiveSpecification"] == {"AttributeName": "expires_at_epoch", "Enabled": True}


def test_managed_policies_come_with_a_vpc_only() -> None:
    plain, inside = render(), render(SubnetIds="subnet-1,subnet-2", SecurityGroupIds="sg-1")

    for role in ROLES:
        assert "ManagedPolicyArns" not in plain.resources[role]["Properties"]
        [policy] = inside.resources[role]["Properties"]["ManagedPolicyArns"]
        assert policy.endswith("/AWSLambdaVPCAccessExecutionRole")
    assert "VpcConfig" not in plain.functions()[BACKUP]
    assert inside.functions()[BACKUP]["VpcConfig"] == {
        "SubnetIds": ["subnet-1", "subnet-2"],
        "SecurityGroupIds": ["sg-1"],
    }


def test_only_lambda_can_take_a_role_and_the_state_machine_its_own(deployed: Rendered) -> None:
    for name, properties in deployed.of_type("AWS::IAM::Role").items():
        [statement] = properties["AssumeRolePolicyDocument"]["Statement"]
        if name == "DownloadRole":
            continue
        service = "states" if name in MACHINE_ROLES else "lambda"
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        if name in MACHINE_ROLES:
            assert statement["Condition"] == {"StringEquals": {"aws:SourceAccount": ACCOUNT}}


# --- functions ---


def test_every_function_of_the_repository_is_deployed(deployed: Rendered) -> None:
    folders = {str(path.parent.relative_to(ROOT)) for path in ROOT.glob("functions/*/handler.py")}

    assert {properties["CodeUri"] for properties in deployed.functions().values()} == folders


def test_every_function_has_what_an_unattended_function_needs(deployed: Rendered) -> None:
    queue = deployed.functions()[BACKUP]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
    groups = {group["LogGroupName"]: group for group in deployed.of_type("AWS::Logs::LogGroup").values()}
    roles = set()
    for name, function in deployed.functions().items():
        assert function["Runtime"] == "python3.13"
        assert function["Handler"] == "handler.handler"
        assert function["Tracing"] == "Active"
        assert 0 < function["Timeout"] <= 900
        assert 128 <= function["MemorySize"] <= 10240
        assert function["EventInvokeConfig"]["DestinationConfig"]["OnFailure"] == queue
        assert groups[f"/aws/lambda/{function['FunctionName']}"]["RetentionInDays"] in range(1, 3654), name
        roles.add(function["Role"])
    assert queue == {"Type": "SQS", "Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-failedevents"}
    assert len(roles) == len(deployed.functions()), "each function has a role of its own"


def test_every_role_writes_its_own_log_and_the_failed_events(deployed: Rendered) -> None:
    own = {role: f"{role.removesuffix('Role')}Logs" for role in ROLES}
    for role in own:
        for logs in own.values():
            group = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{STACK}-{logs.lower()}:log-stream:one"
            assert deployed.allows(role, "logs:PutLogEvents", group) is (logs == own[role])
        assert deployed.allows(role, "sqs:SendMessage", f"arn:aws:sqs:{REGION}:{ACCOUNT}:{STACK}-failedevents")
        assert deployed.allows(role, "sns:Publish", f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-alerttopic")


def test_a_backup_and_a_rotation_are_tried_twice_and_a_restore_once(deployed: Rendered) -> None:
    attempts = {
        name: function["EventInvokeConfig"]["MaximumRetryAttempts"] for name, function in deployed.functions().items()
    }

    assert attempts == {
        BACKUP: 1,
        STORAGE: 1,
        RESTORE: 0,
        ROTATE: 1,
        COPY: 1,
        DRILL: 1,
        VERIFY: 1,
        JOURNAL: 1,
        NOTIFY: 2,
        CONSOLE: 1,
    }


def test_failed_events_wait_for_two_weeks_and_ring_an_alarm(deployed: Rendered) -> None:
    queue = deployed.resources["FailedEvents"]["Properties"]
    alarm = deployed.resources["FailedEventsAlarm"]["Properties"]

    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert alarm["AlarmActions"] == [f"arn:aws:sns:{REGION}:{ACCOUNT}:{STACK}-alerttopic"]
    assert (alarm["MetricName"], alarm["ComparisonOperator"], alarm["Threshold"]) == (
        "ApproximateNumberOfMessagesVisible",
        "GreaterThanThreshold",
        0,
    )


def test_every_function_gets_its_layers_in_the_chosen_architecture() -> None:
    for architecture in ("x86_64", "arm64"):
        deployed = render(Architecture=architecture)
        for name, function in deployed.functions().items():
            layers = {
                BACKUP: [f"{STACK}-postgresqlclientlayer"],
                DRILL: [f"{STACK}-postgresqlserverlayer"],
                NOTIFY: [f"{STACK}-notifylayer"],
                CONSOLE: [f"{STACK}-consolelayer"],
            }
            assert function["Layers"] == [f"{STACK}-coffrelayer", *layers.get(name, [])]
            assert function["Architectures"] == [architecture]
        for name, layer in deployed.of_type("AWS::Serverless::LayerVersion").items():
            context = deployed.resources[name]["Metadata"]["ContextPath"]
            assert layer["CompatibleArchitectures"] == [architecture]
            assert f"COFFRE_ARCHITECTURE := {architecture}\n" in (ROOT / context / "Makefile").read_text().replace(
                "export ", ""
            )


@pytest.mark.parametrize("name", [BACKUP, STORAGE, RESTORE, ROTATE, DRILL, VERIFY, JOURNAL, CONSOLE])
def test_the_environment_and_the_settings_know_each_other(deployed: Rendered, name: str) -> None:
    variables = deployed.functions()[name]["Environment"]["Variables"]
    known = {f"COFFRE_{field.upper()}" for field in SETTINGS[name].model_fields}
    required = {
        f"COFFRE_{field.upper()}" for field, about in SETTINGS[name].model_fields.items() if about.is_required()
    }

    assert {variable for variable in variables if variable.startswith("COFFRE_")} <= known
    assert required <= set(variables)
    settings = SETTINGS[name].from_env({variable: str(value) for variable, value in variables.items()})
    assert settings.configuration == f"{STACK}-configuration"
    home = settings.postgres_home if isinstance(settings, PostgresSettings) else None
    assert (str(home) == "/opt/postgresql") == (name in (BACKUP, DRILL))


def test_only_who_reads_backups_is_told_where_the_identity_is(deployed: Rendered) -> None:
    told = {
        name: function["Environment"]["Variables"].get("COFFRE_IDENTITY_SECRET")
        for name, function in deployed.functions().items()
    }

    identity = "coffre/identity/main"
    assert told == {
        BACKUP: "",
        STORAGE: "",
        RESTORE: identity,
        ROTATE: "",
        COPY: "",
        DRILL: identity,
        VERIFY: identity,
        JOURNAL: "",
        NOTIFY: "",
        CONSOLE: "",
    }


def test_the_heaps_of_many_threads_stay_small(deployed: Rendered) -> None:
    assert deployed.functions()[STORAGE]["Environment"]["Variables"]["MALLOC_ARENA_MAX"] == "2"


def test_a_drill_has_the_memory_and_the_scratch_space_that_it_is_given() -> None:
    default = render().functions()[DRILL]
    small = render(DrillMemorySize="1769", DrillStorageSize="2048").functions()[DRILL]

    assert (default["MemorySize"], default["EphemeralStorage"]) == (3008, {"Size": 10240})
    assert (small["MemorySize"], small["EphemeralStorage"]) == ("1769", {"Size": "2048"})


def test_a_new_account_may_have_the_memory_that_is_asked_for_by_default(template: dict[str, Any]) -> None:
    # AWS lets new accounts have 3,008 MB for a function until they ask for more.
    sizes = [about["Default"] for name, about in template["Parameters"].items() if name.endswith("MemorySize")] + [
        properties["MemorySize"] for properties in render().functions().values()
    ]

    assert max(map(int, sizes)) <= 3008


def test_the_functions_use_ipv6_only_when_told_so() -> None:
    network = {"SubnetIds": "subnet-1,subnet-2", "SecurityGroupIds": "sg-1"}
    plain = render(**network).functions()
    dual = render(**network, Ipv6AllowedForDualStack="true").functions()

    for name in set(plain) - {NOTIFY}:  # which is never in a VPC
        assert plain[name]["VpcConfig"].keys() == {"SubnetIds", "SecurityGroupIds"}
        assert dual[name]["VpcConfig"]["Ipv6AllowedForDualStack"] is True
    assert "VpcConfig" not in render().functions()[BACKUP]


def test_the_way_that_functions_in_a_vpc_need_leads_to_every_service_they_call(template: dict[str, Any]) -> None:
    # What the roles may call, by the names that people know the services by; logs and traces go another way.
    names = {
        "s3": "S3",
        "dynamodb": "DynamoDB",
        "ssm": "SSM",
        "secretsmanager": "Secrets Manager",
        "sns": "SNS",
        "events": "EventBridge",
        "lambda": "Lambda",
        "cloudformation": "CloudFormation",
        "sqs": "SQS",
        "states": "Step Functions",
    }
    called = {
        action.partition(":")[0]
        for role in ROLES
        for one in render().statements(role)
        for action in listed(one["Action"])
    }
    texts = [template["Parameters"]["SubnetIds"]["Description"], (ROOT / "README.md").read_text()]

    # Lambda itself puts failed events into the queue, not the function.
    missing = [names[one] for one in called - {"logs", "xray", "sqs"} for text in texts if names[one] not in text]
    assert missing == []


# --- schedules and events ---


def test_the_default_schedules_are_two_in_the_morning_daily_on_sunday_and_on_the_first(deployed: Rendered) -> None:
    expressions = {
        name: rule["ScheduleExpression"]
        for name, rule in deployed.of_type("AWS::Events::Rule").items()
        if "ScheduleExpression" in rule
    }

    # minute, hour, day of month, month, day of week, year
    assert expressions == {
        "DailyBackupRule": "cron(0 2 * * ? *)",
        "WeeklyBackupRule": "cron(0 2 ? * SUN *)",
        "MonthlyBackupRule": "cron(0 2 1 * ? *)",
        "WeeklyStorageBackupRule": "cron(0 3 ? * SUN *)",
        "MonthlyStorageBackupRule": "cron(0 3 1 * ? *)",
        "DueRule": f"cron(0/{SHORTEST_MINUTES} * * * ? *)",
        "DailyRotateRule": "cron(0 5 * * ? *)",
        "DailyCopyRule": "cron(30 4 * * ? *)",
        "WeeklyDrillRule": "cron(0 6 ? * SUN *)",
        "MonthlyDrillRule": "cron(0 6 1 * ? *)",
        "FreshRule": "cron(15 * * * ? *)",
        "InventoryRule": "cron(0 4 * * ? *)",
        "ReadRule": "cron(30 4 * * ? *)",
        "DoctorRule": "cron(30 6 ? * MON *)",
        "ReportRule": "cron(0 7 ? * MON *)",
        "JournalRule": "cron(* * * * ? *)",
    }


@pytest.mark.parametrize("level", [Level.FRESH, Level.INVENTORY, Level.READ, Level.DOCTOR])
def test_a_verification_by_the_clock_is_of_everything(deployed: Rendered, level: Level) -> None:
    [target] = deployed.resources[f"{level.value.capitalize()}Rule"]["Properties"]["Targets"]

    assert VerifyEvent.parse(json.loads(target["Input"])) == VerifyEvent(level=level)


@pytest.mark.parametrize(("rule", "rehearse"), [("WeeklyDrillRule", False), ("MonthlyDrillRule", True)])
def test_a_scheduled_drill_is_of_every_target(deployed: Rendered, rule: str, rehearse: bool) -> None:
    [target] = deployed.resources[rule]["Properties"]["Targets"]
    due = scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION)

    assert DrillEvent.parse(json.loads(target_input(target, due))) == DrillEvent(rehearse=rehearse)


def test_the_daily_rotation_is_of_every_target(deployed: Rendered) -> None:
    [target] = deployed.resources["DailyRotateRule"]["Properties"]["Targets"]
    due = scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION)

    assert RotateEvent.parse(json.loads(target_input(target, due))) == RotateEvent()


def test_the_event_of_a_complete_backup_starts_the_rotation_of_its_target(deployed: Rendered) -> None:
    # Given what the function `backup_database` puts on the bus
    sent: list[dict[str, str]] = []

    class Bus:
        def put_events(self, Entries: list[dict[str, str]]) -> dict[str, int]:  # noqa: N803
            sent.extend(Entries)
            return {"FailedEntryCount": 0}

    variables = deployed.functions()[BACKUP]["Environment"]["Variables"]
    bus: Any = Bus()
    Announcer(bus, variables["COFFRE_CATALOG_TABLE"]).backup_completed(
        Backup(
            id="01K9X000000000000000000000",
            target="main",
            tiers=(Tier.DAILY,),
            status=Status.COMPLETED,
            created_at=SLOT,
        )
    )
    [entry] = sent
    detail = json.loads(entry["Detail"])

    # Then the rules take it, and hand its target on
    for name, function in (("RotateAfterBackupRule", "rotate"), ("CopyAfterBackupRule", "copy")):
        rule = deployed.resources[name]["Properties"]
        assert rule["EventPattern"]["source"] == [entry["Source"]]
        assert rule["EventPattern"]["detail-type"] == [entry["DetailType"]]
        assert rule["EventPattern"]["detail"] == {"catalog": [detail["catalog"]]}
        [target] = rule["Targets"]
        event = {**scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION), "detail": detail}
        assert target_input(target, event) == (ROOT / "events" / function / "after_backup.json").read_text().strip()


@pytest.mark.parametrize("rule", TIERS)
def test_a_rule_passes_its_tier_and_its_own_time(deployed: Rendered, rule: str) -> None:
    [target] = deployed.resources[rule]["Properties"]["Targets"]
    due = scheduled_event(f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{rule}", SLOT, region=REGION)

    event = BackupDatabaseEvent.parse(json.loads(target_input(target, due)))

    assert event == BackupDatabaseEvent(tier=TIERS[rule], scheduled_time=SLOT)
    assert target["Arn"].endswith(f":function:{STACK}-backup-database")


@pytest.mark.parametrize("rule", STORAGE_TIERS)
def test_a_rule_for_buckets_passes_its_tier_and_its_own_time(deployed: Rendered, rule: str) -> None:
    [target] = deployed.resources[rule]["Properties"]["Targets"]
    slot = SLOT.replace(hour=3)
    sent = json.loads(target_input(target, scheduled_event("arn:aws:events:::rule/any", slot, region=REGION)))

    assert BackupStorageEvent.parse(sent) == BackupStorageEvent(tier=STORAGE_TIERS[rule], scheduled_time=slot)
    assert target["Arn"].endswith(f":function:{STACK}-backup-storage")
    example = ROOT / "events" / "backup_storage" / f"{STORAGE_TIERS[rule].lower()}.json"
    assert json.loads(example.read_text()) == sent


def test_a_tick_asks_both_functions_that_back_up_for_what_is_due(deployed: Rendered) -> None:
    targets = deployed.resources["DueRule"]["Properties"]["Targets"]
    due = scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION)

    asked = {target["Arn"].rpartition(":")[2]: json.loads(target_input(target, due)) for target in targets}

    assert set(asked) == {f"{STACK}-backup-database", f"{STACK}-backup-storage"}
    for function, sent in asked.items():
        event = BackupStorageEvent.parse(sent)
        assert (event.due, event.target, event.scheduled_time) == (True, None, SLOT)
        folder = function.removeprefix(f"{STACK}-").replace("-", "_")
        assert json.loads((ROOT / "events" / folder / "due.json").read_text()) == sent


def test_journals_are_asked_every_minute_and_only_if_that_is_wanted(
    deployed: Rendered, template: dict[str, Any]
) -> None:
    [target] = deployed.resources["JournalRule"]["Properties"]["Targets"]
    sent = json.loads(target_input(target, scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION)))

    assert JournalEvent.parse(sent) == JournalEvent(scheduled_time=SLOT)
    assert template["Parameters"]["Journal"]["Default"] == "off"
    assert all(
        template["Resources"][name]["Condition"] == "HasJournal" for name in ("JournalRule", "JournalPermission")
    )


def test_every_rule_may_invoke_the_function_it_names(deployed: Rendered) -> None:
    permitted = {
        (permission["SourceArn"].rpartition("/")[2], permission["FunctionName"])
        for permission in deployed.of_type("AWS::Lambda::Permission").values()
        if (permission["Action"], permission["Principal"]) == ("lambda:InvokeFunction", "events.amazonaws.com")
    }

    assert permitted == {
        *((f"{STACK}-{rule.lower()}", f"{STACK}-backup-database") for rule in TIERS),
        *((f"{STACK}-{rule.lower()}", f"{STACK}-rotate") for rule in ("DailyRotateRule", "RotateAfterBackupRule")),
        *((f"{STACK}-{rule.lower()}", f"{STACK}-copy") for rule in ("DailyCopyRule", "CopyAfterBackupRule")),
        *((f"{STACK}-{rule.lower()}", f"{STACK}-backup-storage") for rule in STORAGE_TIERS),
        (f"{STACK}-journalrule", f"{STACK}-journal"),
        (f"{STACK}-spreadendedrule", f"{STACK}-backup-database"),
        (f"{STACK}-spreadrestoreendedrule", f"{STACK}-restore"),
        (f"{STACK}-rangesendedrule", f"{STACK}-backup-storage"),
        *((f"{STACK}-duerule", f"{STACK}-{function}") for function in ("backup-database", "backup-storage")),
        *((f"{STACK}-{rule.lower()}", f"{STACK}-drill") for rule in ("WeeklyDrillRule", "MonthlyDrillRule")),
        *(
            (f"{STACK}-{rule.lower()}", f"{STACK}-verify")
            for rule in ("FreshRule", "InventoryRule", "ReadRule", "DoctorRule", "ReportRule")
        ),
    }


@pytest.mark.parametrize(
    "path", sorted(ROOT.glob("events/**/*.json")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_every_example_event_has_its_function_and_is_one(path: Path) -> None:
    assert (ROOT / "functions" / path.parent.name / "handler.py").is_file()
    EVENTS[path.parent.name](json.loads(path.read_text()))


@pytest.mark.parametrize("function", EVENTS)
def test_every_function_has_example_events(function: str) -> None:
    assert list((ROOT / "events" / function).glob("*.json"))


def test_the_example_of_each_rule_is_what_the_rule_sends(deployed: Rendered) -> None:
    for rule, tier in TIERS.items():
        [target] = deployed.resources[rule]["Properties"]["Targets"]
        example = json.loads((ROOT / "events" / "backup_database" / f"{tier.lower()}.json").read_text())
        sent = target_input(target, scheduled_event("arn:aws:events:::rule/any", SLOT, region=REGION))
        assert example == json.loads(sent)


# --- the configuration document that the parameters make ---


def document(**parameters: str) -> str:
    text = render(**parameters).resources["Configuration"]["Properties"]["Value"]
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("count", [1, 2])
@pytest.mark.parametrize("separator", [",", ", "])
def test_the_parameters_make_a_document_with_every_recipient(count: int, separator: str) -> None:
    chosen = RECIPIENTS[:count]

    configuration = parse_configuration(document(AgeRecipients=separator.join(chosen)), where="the template")

    assert configuration.encryption == "age"
    assert configuration.recipients == tuple(chosen)
    [target] = configuration.databases
    assert (target.name, target.secret) == ("main", "coffre/database/main")


def test_the_parameters_make_a_target_of_the_buckets() -> None:
    configuration = parse_configuration(
        document(AgeRecipients=RECIPIENTS[0], SourceBuckets="uploads, avatars"), where="the template"
    )

    [target] = configuration.buckets
    assert target.name == "files"
    assert [bucket.name for bucket in target.buckets] == ["uploads", "avatars"]


def test_the_parameters_make_a_document_without_encryption_when_told_so() -> None:
    text = document(Encryption="none", TargetName="shop", DatabaseSecret=f"{SECRETS}rds!db-1-AbCdEf")

    configuration = parse_configuration(text, where="the template")

    assert (configuration.encryption, configuration.recipients) == ("none", ())
    [target] = configuration.databases
    assert (target.name, target.secret) == ("shop", f"{SECRETS}rds!db-1-AbCdEf")


def test_a_document_without_a_recipient_is_refused_in_words() -> None:
    with pytest.raises(ConfigurationError, match="recipients"):
        parse_configuration(document(), where="the template")


@pytest.mark.parametrize(
    ("parameters", "passes"),
    [
        ({}, False),
        ({"AgeRecipients": ""}, False),
        ({"AgeRecipients": " , "}, False),
        ({"AgeRecipients": RECIPIENTS[0]}, True),
        ({"AgeRecipients": ", ".join(RECIPIENTS)}, True),
        ({"Encryption": "none"}, True),
        ({"ConfigurationDocument": "{}"}, True),
    ],
)
def test_a_deployment_without_a_recipient_fails_at_once(
    template: dict[str, Any], parameters: dict[str, str], *, passes: bool
) -> None:
    broken = broken_rules(**parameters)

    assert broken == [] if passes else len(broken) == 1
    assert all("coffre keys new" in words for words in broken)
    # CloudFormation resolves no condition and no other function there.
    assert "Conditions" not in str(template["Rules"])


def test_a_document_of_ones_own_is_taken_as_it_is() -> None:
    own = json.dumps({"encryption": "none", "targets": [{"name": "a", "secret": "s"}, {"name": "b", "secret": "s"}]})

    assert document(ConfigurationDocument=own, AgeRecipients=RECIPIENTS[0]) == own


def test_both_roles_configuration_is_the_parameter_they_may_read(deployed: Rendered) -> None:
    name = deployed.resources["Configuration"]["Properties"]["Name"]

    assert name == f"/coffre/{STACK}/configuration"
    assert deployed.allows(BACKUP_ROLE, "ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter{name}")
    assert not deployed.allows(BACKUP_ROLE, "ssm:GetParameter", f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/other")


@pytest.mark.parametrize(
    ("parameter", "good", "bad"),
    [
        ("TargetName", ["main", "a-1"], ["", "Main", "-a", "a b", 'a"', "a" * 64]),
        (
            "DatabaseSecret",
            ["coffre/database/main", f"{SECRETS}rds!db-1-AbCdEf"],
            ['a"b', "a b", "", "postgresql://u:p@h/d"],
        ),
        ("IdentitySecret", ["coffre/identity/main"], [f"{SECRETS}x", "coffre/identity/a b", ""]),
        ("AlertUrlsSecret", ["", "coffre/alerts/urls"], ["alerts", f"{SECRETS}x", "https://hooks.example.org/x"]),
        ("RunbooksUrl", ["", "https://example.org/docs/runbooks"], ["http://x", "x", 'https://x"y', "https://x y"]),
        ("HeartbeatUrl", ["", "https://hc.example.org/7c0ffee"], ["hc", 'https://x"}', "https://x y", "https://x\\y"]),
        ("ExistingVaultBucket", ["", "safe-vault", "a.b-1"], ["s3://safe", "Safe", "a/b", "ab-", "x"]),
        ("VaultPrefix", ["", "a", "team/prod", "a.b_c-d"], ["/a", "a/", "a//b", "a b"]),
    ],
)
def test_a_parameter_takes_only_what_its_pattern_says(
    template: dict[str, Any], parameter: str, good: list[str], bad: list[str]
) -> None:
    pattern = template["Parameters"][parameter]["AllowedPattern"]

    assert [value for value in good if not re.fullmatch(pattern, value)] == []
    assert [value for value in bad if re.fullmatch(pattern, value)] == []


# --- an older vault ---


def test_a_vault_that_is_taken_over_is_used_by_every_function_and_not_made(template: dict[str, Any]) -> None:
    for name in ("VaultBucket", "VaultBucketPolicy"):
        assert template["Resources"][name]["Condition"] == "HasNewVault"
    adopted = render(ExistingVaultBucket="old-vault", VaultPrefix="team/prod")
    old = "arn:aws:s3:::old-vault"

    for properties in adopted.functions().values():
        assert properties["Environment"]["Variables"]["COFFRE_VAULT_BUCKET"] == "old-vault"
    # The same rights as in a vault of its own, and none in any other bucket of this name's kind
    for role in ROLES:
        own, others = render(VaultPrefix="team/prod"), adopted
        for action in ("s3:PutObject", "s3:GetObject", "s3:DeleteObject"):
            for key in (PACK, MANIFEST, REPORT, "scratch/x/y"):
                expected = own.allows(role, action, f"{VAULT}/team/prod/{key}")
                assert others.allows(role, action, f"{old}/team/prod/{key}") is expected, (role, action, key)
                assert not others.allows(role, action, f"{VAULT}/team/prod/{key}")
        assert others.allows(role, "s3:ListBucket", old) is own.allows(role, "s3:ListBucket", VAULT)


# --- what a person reads and what must not be there ---


def test_every_parameter_is_shown_in_a_group_and_used(template: dict[str, Any]) -> None:
    groups = template["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    used = " ".join(strings({key: template[key] for key in ("Resources", "Globals", "Conditions", "Outputs")}))

    assert sorted(shown) == sorted(template["Parameters"])
    assert [name for name in template["Parameters"] if not re.search(rf"\b{name}\b", used)] == []


def test_mail_is_sent_only_when_an_address_is_given(template: dict[str, Any]) -> None:
    assert template["Resources"]["AlertEmailSubscription"]["Condition"] == "HasEmail"


def test_nothing_that_differs_between_accounts_is_written_down() -> None:
    for name in ("template.yaml", "samconfig.toml"):
        text = (ROOT / name).read_text()
        assert not re.search(r"\b\d{12}\b", text), f"{name} has an account id"
        assert not re.search(r"(AKIA|ASIA)[A-Z0-9]{16}|AGE-SECRET-KEY|://[^\s/]+:[^\s/]+@", text), (
            f"{name} has a secret"
        )


def test_samconfig_holds_only_what_differs_between_environments() -> None:
    configuration = tomllib.loads((ROOT / "samconfig.toml").read_text())

    for environment in ("default", "arm64"):
        deploy = configuration[environment]["deploy"]["parameters"]
        assert {"s3_bucket", "image_repository", "role_arn", "profile", "region"}.isdisjoint(deploy)
        assert deploy["capabilities"] == "CAPABILITY_IAM"
        assert deploy["confirm_changeset"] is True
    assert configuration["arm64"]["build"]["parameters"]["parameter_overrides"] == "Architecture=arm64"
    assert configuration["arm64"]["deploy"]["parameters"]["parameter_overrides"] == "Architecture=arm64"


@pytest.mark.parametrize("handler", sorted(ROOT.glob("functions/*/*")), ids=lambda path: path.parent.name)
def test_a_handler_is_small_and_imports_the_package_alone(handler: Path) -> None:
    if handler.name == "__pycache__":
        return
    assert handler.name == "handler.py", "a function is one file"
    text = handler.read_text()
    assert len(text.splitlines()) <= 80
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            root = module.partition(".")[0]
            own = ("coffre", "coffre_console") if handler.parent.name == "console" else ("coffre",)
            assert root in own or root in sys.stdlib_module_names, module


def test_a_console_that_is_off_is_nothing_at_all(template: dict[str, Any]) -> None:
    """Each resource of it has the condition, so that off makes nothing and costs nothing."""
    of_console = {name for name in template["Resources"] if name.startswith("Console")}
    of_console |= {"ExportBucket", "ExportBucketPolicy", "DownloadRole"}
    of_users = {name for name, one in template["Resources"].items() if "::Cognito::" in one["Type"]}

    assert {template["Resources"][name].get("Condition") for name in of_console - of_users} == {"HasConsole"}
    assert {template["Resources"][name].get("Condition") for name in of_users} == {"HasConsoleUsers"}
    assert template["Outputs"]["ConsoleAddress"]["Condition"] == "HasConsole"
    assert template["Parameters"]["Console"]["Default"] == "off"
    assert (len(of_console - of_users), len(of_users)) == (14, 7)
    assert template["Parameters"]["ConsoleSignIn"]["Default"] == "issuer"
    for parameters in ({}, {"Console": "on"}, {"ConsoleSignIn": "cognito"}):
        assert decided(template, parameters)["HasConsoleUsers"] == DECIDED[False], parameters


def test_the_user_pool_takes_only_people_who_were_invited() -> None:
    """Sign-in by code and PKCE alone, to the console's own addresses; each role of the console has its group."""
    made = render(Console="on", ConsoleSignIn="cognito", ConsoleOwnAddress="https://backups.example.com")
    [pool] = made.of_type("AWS::Cognito::UserPool").values()
    [client] = made.of_type("AWS::Cognito::UserPoolClient").values()
    [domain] = made.of_type("AWS::Cognito::UserPoolDomain").values()
    groups = {one["GroupName"] for one in made.of_type("AWS::Cognito::UserPoolGroup").values()}
    variables = made.functions()[CONSOLE]["Environment"]["Variables"]
    settings = ConsoleSettings.from_env({name: str(value) for name, value in variables.items()})
    assert settings.users_issuer is not None
    assert settings.users_client is not None
    section = Console.of_user_pool(settings.users_issuer, settings.users_client)

    assert pool["AdminCreateUserConfig"] == {"AllowAdminCreateUserOnly": True}
    assert (pool["MfaConfiguration"], pool["EnabledMfas"]) == ("OPTIONAL", ["SOFTWARE_TOKEN_MFA"])
    assert (client["AllowedOAuthFlows"], client["GenerateSecret"]) == (["code"], False)
    own = settings.console_address
    assert client["CallbackURLs"] == [f"{own}/callback", "https://backups.example.com/callback"]
    assert client["LogoutURLs"] == [f"{own}/", "https://backups.example.com/"]
    assert re.fullmatch(r"coffre-[0-9a-f]{12}", domain["Domain"])
    assert {(one.group, one.role) for one in section.roles} == {(group, group) for group in groups}
    without = render(Console="on", ConsoleSignIn="cognito").of_type("AWS::Cognito::UserPoolClient")
    assert [one["CallbackURLs"] for one in without.values()] == [[f"{own}/callback"]]
    assert (
        ConsoleSettings.from_env(render(Console="on").functions()[CONSOLE]["Environment"]["Variables"]).users_issuer
        is None
    )


def test_exports_live_a_day_and_their_addresses_an_hour(deployed: Rendered) -> None:
    """The role whose credentials sign them is for the console alone, and reads nothing else."""
    [rule] = deployed.resources["ExportBucket"]["Properties"]["LifecycleConfiguration"]["Rules"]
    assert (rule["ExpirationInDays"], rule["AbortIncompleteMultipartUpload"]) == (KEPT.days, {"DaysAfterInitiation": 1})
    assert "VersioningConfiguration" not in deployed.resources["ExportBucket"]["Properties"]
    statements = deployed.resources["ExportBucketPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    [old] = [one for one in statements if one["Sid"] == "NoAddressIsOlderThanAnHour"]
    assert (old["Effect"], old["Principal"]) == ("Deny", "*")
    assert old["Condition"] == {"NumericGreaterThan": {"s3:signatureAge": 3_600_000}}, "milliseconds"
    role = deployed.resources["DownloadRole"]["Properties"]
    [trust] = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"AWS": deployed.attribute("ConsoleRole", "Arn")}
    [policy] = role["Policies"]
    [allowed] = policy["PolicyDocument"]["Statement"]
    assert allowed["Action"] == "s3:GetObject"
    assert allowed["Resource"] == f"{deployed.attribute('ExportBucket', 'Arn')}/exports/*"


def test_the_access_log_of_the_console_has_no_query_and_no_header(template: dict[str, Any]) -> None:
    """A code of the identity provider is in the query of the callback."""
    text = template["Resources"]["ConsoleStage"]["Properties"]["AccessLogSettings"]["Format"]

    assert "$context.path" in text
    assert "query" not in text.lower()
    assert "header" not in text.lower()
    assert "authorizer" not in text.lower()
