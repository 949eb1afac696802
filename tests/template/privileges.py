"""Who may do what, as the template says: every principal and every call that matters, decided by `policies`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from tests.template.policies import Decision, Principal, Request, Statement, Values, decide
from tests.template.rendering import ACCOUNT, REGION, STACK, Rendered, render

# Everything that the template can have: a source in AWS with a key of its own, a place for restores, chats.
KEY: Final = f"arn:aws:kms:{REGION}:{ACCOUNT}:key/1"
EVERYTHING: Final = {
    "AlertUrlsSecret": "coffre/alerts/urls",
    "SourceBuckets": "photos",
    "SourceKeys": KEY,
    "SettingsSecrets": f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:app/*",
    "SettingsParameters": f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/app/*",
    "RestoreBuckets": "photos-back",
    "CopyBuckets": "photos-copy",
    "AccessLogs": "on",
    "Console": "on",
    "Journal": "on",
    "ConsoleSignIn": "cognito",
    "ObjectLock": "governance",
    "ObjectLockMaxDays": "400",
}

ID: Final = "01K9X000000000000000000000"
PACK: Final = f"v1/packs/{ID}/000001-0a1b2c3d-0000"
FOLDER: Final = f"v1/backups/main/{ID}"
PARTITIONS: Final = (
    "BACKUP",
    "RESTORE",
    "SLOT",
    "LOCK",
    "ALERT",
    "KEY",
    "SERVER",
    "DELIVERY",
    "AUDIT#main",
    "AUDITHEAD",
    "CONFIRM",
    "CONFIG",
    "CHECKUP",
    "DRILL",
    "VAULT",
    "USAGE",
    "COPY",
    "POINT",
    "JOURNAL",
    "DAMAGE",
    "PART",
    "SPREAD",
    "APIKEY",
    "SESSION",
    "ATTEMPT",
    "START",
)

FUNCTIONS: Final = {
    "backup-database": "BackupDatabaseRole",
    "backup-storage": "BackupStorageRole",
    "restore": "RestoreRole",
    "rotate": "RotateRole",
    "copy": "CopyRole",
    "drill": "DrillRole",
    "verify": "VerifyRole",
    "journal": "JournalRole",
    "notify": "NotifyRole",
    "console": "ConsoleRole",
}
MACHINES: Final = {
    "state machine": "SpreadMachineRole",
    "state machine of restores": "SpreadRestoreMachineRole",
    "state machine of buckets": "RangesMachineRole",
}
DOWNLOADS, DOWNLOAD_ROLE = "signed address", "DownloadRole"
PEOPLE: Final = {
    "reader": ("ReadersPolicy",),
    "operator": ("ReadersPolicy", "OperatorsPolicy"),
    "restorer": ("ReadersPolicy", "RestorersPolicy"),
}
RULES, TOPIC, ALARMS, LOGGING = "rules", "topic", "alarms", "logging"
ANYONE, ADMINISTRATOR = "anyone", "administrator"


@dataclass(frozen=True)
class Call:
    """One call, with its meaning in words (`verb` can be empty); `context` are the condition keys that come with it."""

    group: str
    verb: str
    what: str
    action: str
    resource: str
    context: Mapping[str, str | Values] = field(default_factory=dict)


class Privileges:
    """The template, rendered with everything, and the answers to calls."""

    def __init__(self, template: Rendered | None = None, **parameters: str) -> None:
        self.template = template or render(**{**EVERYTHING, **parameters})
        variables = self.template.globals["Function"]["Environment"]["Variables"]
        self._bucket = f"arn:aws:s3:::{variables['COFFRE_VAULT_BUCKET']}"
        self._vault = "/".join(filter(None, (self._bucket, variables["COFFRE_VAULT_PREFIX"])))
        self.principals: Sequence[Principal] = (
            *(Principal(name, _role(name), None, self.template.statements(role)) for name, role in FUNCTIONS.items()),
            *(Principal(name, _role(name), None, self._managed(policies)) for name, policies in PEOPLE.items()),
            *(Principal(name, _role(name), None, self.template.statements(role)) for name, role in MACHINES.items()),
            Principal(DOWNLOADS, _role(DOWNLOADS), None, self.template.statements(DOWNLOAD_ROLE)),
            Principal(RULES, service="events.amazonaws.com"),
            Principal(TOPIC, service="sns.amazonaws.com"),
            Principal(ALARMS, service="cloudwatch.amazonaws.com"),
            Principal(LOGGING, service="logging.s3.amazonaws.com"),
            Principal(ANYONE),
            Principal(ADMINISTRATOR, _role("admin"), None, [{"Effect": "Allow", "Action": "*", "Resource": "*"}]),
        )
        self._answers: dict[tuple[str, str, str], frozenset[str]] = {}
        self.calls: Sequence[Call] = (
            *self._vault_calls(),
            *self._catalog_calls(),
            *self._secret_calls(),
            *self._function_calls(),
            *self._message_calls(),
            *self._bucket_calls(),
            *self._log_calls(),
            *self._export_calls(),
            *self._people_calls(),
            *self._setting_calls(),
        )

    def allows(self, principal: Principal, call: Call) -> bool:
        """Return whether a principal may make a call, over TLS unless the call says otherwise."""
        request = Request(call.action, call.resource, {"aws:SecureTransport": "true", **call.context})
        return decide(principal, request, self._resource_policy(call.resource)) is Decision.ALLOWED

    def allowed(self, call: Call) -> frozenset[str]:
        """Return the names of all who may make a call."""
        words = (call.group, call.verb, call.what)
        if words not in self._answers:
            self._answers[words] = frozenset(one.name for one in self.principals if self.allows(one, call))
        return self._answers[words]

    def about(self, group: str, verb: str = "", what: str = "") -> list[Call]:
        """Return the calls of a group, those of a verb or about one thing."""
        found = [one for one in self.calls if one.group == group and verb in ("", one.verb) and what in ("", one.what)]
        assert found, f"no call is named {group}, {verb}, {what}"
        return found

    def arn(self, name: str, attribute: str = "Arn") -> str:
        """Return the ARN of a resource of the template."""
        found: str = self.template.attribute(name, attribute)
        return found

    # --- policies ---

    def _managed(self, names: Sequence[str]) -> list[Statement]:
        documents = (self.template.resources[name]["Properties"]["PolicyDocument"] for name in names)
        return [statement for document in documents for statement in document["Statement"]]

    def _resource_policy(self, resource: str) -> list[Statement]:
        of_type = self.template.of_type
        if resource.startswith("arn:aws:s3:::"):  # what another bucket's policy says names other resources
            return [one for policy in of_type("AWS::S3::BucketPolicy").values() for one in _statements(policy)]
        if resource == self.arn("FailedEvents"):
            return [one for policy in of_type("AWS::SQS::QueuePolicy").values() for one in _statements(policy)]
        if resource == self.arn("AlertTopic"):
            return [one for policy in of_type("AWS::SNS::TopicPolicy").values() for one in _statements(policy)]
        return [
            {
                "Effect": "Allow",
                "Principal": {"Service": permission["Principal"]},
                "Action": permission["Action"],
                "Resource": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{permission['FunctionName']}",
                "Condition": {"ArnLike": {"aws:SourceArn": permission["SourceArn"]}},
            }
            for permission in of_type("AWS::Lambda::Permission").values()
            if resource.endswith(f":function:{permission['FunctionName']}")
        ]

    # --- calls ---

    def _vault_calls(self) -> Iterator[Call]:
        new = {"s3:if-none-match": "*", "s3:ObjectCreationOperation": "true"}
        again = {"s3:ObjectCreationOperation": "true"}

        def of(group: str, action: str, key: str, verb: str, what: str, context: Mapping[str, str] = again) -> Call:
            return Call(group, verb, what, f"s3:{action}", f"{self._vault}/{key}", context)

        parts = {
            "a pack": PACK,
            "a manifest": f"{FOLDER}/manifest.json",
            "an entries file": f"{FOLDER}/entries.jsonl.zst",
            "a shared list of entries": f"v1/packs/{ID}/entries-01234567-0000.jsonl.zst",
            "the record of a finished part": f"{FOLDER}/parts/000001.jsonl.zst",
            "the plan of a run": f"{FOLDER}/plan/plan.json",
            "the mark of a tier": f"{FOLDER}/marks/tier-WEEKLY.json",
            "the seal of a restore point": f"v1/points/main/{ID}.json",
        }
        apart = {
            "an anchor of the audit": f"v1/audit/anchors/{ID}.json",
            "a copy of the configuration": "v1/configuration/20261128T030000Z-0123456789abcdef.json",
            "the mark of a hold": f"{FOLDER}/marks/hold-{ID}.json",
            "the mark of a verification": f"{FOLDER}/marks/verified-{ID}.json",
            "the record of a segment of a journal": f"v1/journal/main/{ID}/00000001-00000000016B3748.json",
            "a pack of a journal": f"v1/journal/main/{ID}/00000001-01234567-0000",
        }
        others = {
            "the progress of a run": f"{FOLDER}/progress.json",
            "a pin": f"{FOLDER}/marks/pin.json",
            "a finding of damage": f"{FOLDER}/reports/damage-{ID}.json",
            "the report of a drill": f"{FOLDER}/reports/drill-{ID}.json",
            "the report of a restore": f"v1/restores/{ID}.json",
            "what a drill restores": f"scratch/{ID}/photos/a.jpg",
            "any other object": "other/a",
        }
        group = "Vault: write"
        yield from (of(group, "PutObject", key, "add", name, new) for name, key in parts.items())
        yield from (of(group, "PutObject", key, "replace", name) for name, key in parts.items())
        yield from (of(group, "PutObject", key, "add", name, new) for name, key in apart.items())
        yield from (of(group, "PutObject", key, "replace", name) for name, key in apart.items())
        yield of(group, "PutObject", PACK, "upload", "a part of a pack", {"s3:ObjectCreationOperation": "false"})
        yield from (of(group, "PutObject", key, "add or replace", name) for name, key in others.items())
        yield from (
            of(group, f"PutObject{what}", PACK, "change", f"{name} of a pack")
            for what, name in {"Acl": "grants", "Tagging": "tags"}.items()
        )
        group, everything = "Vault: read", {**parts, **apart, **others}
        yield from (of(group, "GetObject", key, "read", name, {}) for name, key in everything.items())
        yield of(group, "GetObjectVersion", PACK, "read", "an older version of a pack", {})
        yield Call(group, "list", "keys and sizes", "s3:ListBucket", self._bucket)
        yield Call(group, "list", "versions", "s3:ListBucketVersions", self._bucket)
        yield of(group, "GetObject", PACK, "read", "a pack without TLS", {"aws:SecureTransport": "false"})
        group = "Vault: delete"
        yield from (of(group, "DeleteObject", key, "delete", name, {}) for name, key in everything.items())
        yield of(group, "DeleteObjectVersion", PACK, "delete for good", "a version of a pack", {})
        yield of(group, "DeleteObjectVersion", parts["a manifest"], "delete for good", "a version of a manifest", {})
        yield Call(group, "delete", "the bucket", "s3:DeleteBucket", self._bucket)
        group = "Vault: rules"
        for action in (
            *("PutLifecycleConfiguration", "PutBucketPolicy", "DeleteBucketPolicy", "PutBucketVersioning"),
            *("PutEncryptionConfiguration", "PutReplicationConfiguration", "PutBucketObjectLockConfiguration"),
            *("PutBucketPublicAccessBlock", "PutBucketOwnershipControls", "PutBucketLogging", "PutBucketNotification"),
        ):
            yield Call(group, "", f"`{action}`", f"s3:{action}", self._bucket)
        group, anchor = "Vault: locks", apart["an anchor of the audit"]
        lock = {"s3:object-lock-mode": "GOVERNANCE", "s3:object-lock-remaining-retention-days": "400"}
        longer = {**lock, "s3:object-lock-remaining-retention-days": "401"}
        other = {**lock, "s3:object-lock-mode": "COMPLIANCE"}
        yield of(group, "PutObjectRetention", PACK, "set or lengthen", "the lock of a pack", lock)
        yield of(group, "PutObjectRetention", anchor, "set or lengthen", "the lock of an anchor of the audit", lock)
        yield of(group, "PutObjectRetention", PACK, "set", "a lock longer than `ObjectLockMaxDays`", longer)
        yield of(group, "PutObjectRetention", PACK, "set", "a lock of another mode than the stack's", other)
        yield of(group, "BypassGovernanceRetention", PACK, "shorten or end", "a lock", {})
        yield of(group, "PutObjectLegalHold", PACK, "set or end", "a legal hold", {})
        yield of(group, "GetObjectRetention", PACK, "see", "the lock of a pack", {})

    def _catalog_calls(self) -> Iterator[Call]:
        table = self.arn("CatalogTable")
        actions = {"read": "GetItem", "list": "Query", "put": "PutItem", "update": "UpdateItem", "delete": "DeleteItem"}
        for verb, action in actions.items():
            for partition in PARTITIONS:
                keys = {"dynamodb:LeadingKeys": (partition,)}
                group = f"Catalog: {verb} items of a partition"
                yield Call(group, "", f"`{partition}`", f"dynamodb:{action}", table, keys)
        for index, partition in {
            "by_target": "BACKUP#main",
            "by_status": "BACKUP#COMPLETED",
            "by_status ": "RESTORE#IN_PROGRESS",
            "by_target ": "AUDIT#main",
        }.items():
            name = index.strip()
            resource, keys = f"{table}/index/{name}", {"dynamodb:LeadingKeys": (partition,)}
            group = "Catalog: list items of a partition"
            yield Call(group, "", f"`{partition}` of the index `{name}`", "dynamodb:Query", resource, keys)
        both = {"dynamodb:LeadingKeys": ("LOCK", "AUDIT#main")}
        group = "Catalog: put items of a partition"
        yield Call(group, "", "`LOCK` and `AUDIT#main` together", "dynamodb:PutItem", table, both)
        for action in (
            *("Scan", "PartiQLSelect", "BatchWriteItem", "DeleteTable", "UpdateTable", "UpdateTimeToLive"),
            *("UpdateContinuousBackups", "RestoreTableToPointInTime", "ExportTableToPointInTime", "PutResourcePolicy"),
        ):
            yield Call("Catalog: the whole table", "", f"`{action}`", f"dynamodb:{action}", table)

    def _secret_calls(self) -> Iterator[Call]:
        secrets = {
            "the identity": "coffre/identity/main",
            "another identity": "coffre/identity/other",
            "a database's address": "coffre/database/main",
            "a destination's address": "coffre/destination/x",
            "access keys of a store": "coffre/storage/r2",
            "addresses of chats": "coffre/alerts/urls",
            "a secret of `SettingsSecrets`": "app/secret",
            "a secret of another application": "another/secret",
        }
        for name, path in secrets.items():
            resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{path}-AbCdEf"
            yield Call("Secrets", "read", name, "secretsmanager:GetSecretValue", resource)
        for name in ("the identity", "a database's address", "access keys of a store"):
            resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secrets[name]}-AbCdEf"
            yield Call("Secrets", "see whether it exists:", name, "secretsmanager:DescribeSecret", resource)
        for verb, action in {"make": "CreateSecret", "change": "PutSecretValue", "delete": "DeleteSecret"}.items():
            for name in (
                "the identity",
                "a database's address",
                "a destination's address",
                "a secret of `SettingsSecrets`",
            ):
                resource = f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{secrets[name]}-AbCdEf"
                yield Call("Secrets", verb, name, f"secretsmanager:{action}", resource)
        yield Call("Secrets", "decrypt by", "a key of `SourceKeys`", "kms:Decrypt", KEY)
        yield Call("Secrets", "decrypt by", "another key", "kms:Decrypt", f"{KEY}0")
        own = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/coffre/{STACK}/configuration"
        yield Call("Configuration", "read", "it", "ssm:GetParameter", own)
        yield Call("Configuration", "change", "it", "ssm:PutParameter", own)
        app = f"arn:aws:ssm:{REGION}:{ACCOUNT}:parameter/app/token"
        yield Call("Secrets", "read", "a parameter of `SettingsParameters`", "ssm:GetParameter", app)
        yield Call("Secrets", "change", "a parameter of `SettingsParameters`", "ssm:PutParameter", app)
        yield Call("Secrets", "list", "all names of secrets", "secretsmanager:ListSecrets", "*")
        yield Call("Secrets", "list", "all names of parameters", "ssm:DescribeParameters", "*")
        yield Call("Configuration", "read", "another parameter", "ssm:GetParameter", own.replace(STACK, "other"))

    def _function_calls(self) -> Iterator[Call]:
        start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}"
        for name in FUNCTIONS:
            for source in self._sources(name):
                yield Call("Functions", "start", f"`{name}`", "lambda:InvokeFunction", f"{start}-{name}", source)
        yield Call(
            "Functions",
            "start",
            "`restore` from another rule of the account",
            "lambda:InvokeFunction",
            f"{start}-restore",
            {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/other"},
        )
        for action in ("UpdateFunctionCode", "UpdateFunctionConfiguration", "AddPermission", "GetFunction"):
            yield Call("Functions", "", f"`{action}` of `restore`", f"lambda:{action}", f"{start}-restore")
        for action in ("PutRolePolicy", "AttachRolePolicy", "UpdateAssumeRolePolicy", "PassRole"):
            yield Call("Functions", "", f"`{action}`", f"iam:{action}", self.arn("RestoreRole"))
        machine, run = f"arn:aws:states:{REGION}:{ACCOUNT}:stateMachine:{STACK}-spread", f":{STACK}-spread:{ID}"
        yield Call("Functions", "start", "the state machine", "states:StartExecution", machine)
        yield Call("Functions", "start", "another state machine", "states:StartExecution", f"{machine}2")
        execution = f"arn:aws:states:{REGION}:{ACCOUNT}:execution{run}"
        yield Call("Functions", "stop", "an execution of the state machine", "states:StopExecution", execution)
        yield Call("Functions", "", "`UpdateStateMachine`", "states:UpdateStateMachine", machine)
        restoring = f"{machine}-restore"
        yield Call("Functions", "start", "the state machine of restores", "states:StartExecution", restoring)
        share = f"arn:aws:states:{REGION}:{ACCOUNT}:execution:{STACK}-spread-restore/shares:{ID}"
        yield Call("Functions", "stop", "a share of a restore", "states:StopExecution", share)
        stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"
        yield Call("Functions", "find", "the stack", "cloudformation:DescribeStacks", stack)
        yield Call("Functions", "change", "the stack", "cloudformation:UpdateStack", stack)

    def _sources(self, function: str) -> Sequence[Mapping[str, str]]:
        """Return what starts a function in the account: the first permission's source, or none."""
        permissions = self.template.of_type("AWS::Lambda::Permission").values()
        found = [one["SourceArn"] for one in permissions if one["FunctionName"] == f"{STACK}-{function}"]
        return [{"aws:SourceArn": found[0]}] if found else [{}]

    def _message_calls(self) -> Iterator[Call]:
        topic, queue = self.arn("AlertTopic"), self.arn("FailedEvents")
        bus = f"arn:aws:events:{REGION}:{ACCOUNT}"
        group = "Alerts, events and logs"
        yield Call(group, "publish", "an alert", "sns:Publish", topic, {"aws:SourceAccount": ACCOUNT})
        others = {"aws:SourceAccount": "999988887777"}
        yield Call(group, "publish", "an alert for another account", "sns:Publish", topic, others)
        yield Call(group, "subscribe", "to alerts", "sns:Subscribe", topic)
        yield Call(group, "delete", "the topic", "sns:DeleteTopic", topic)
        yield Call(group, "keep", "a failed event", "sqs:SendMessage", queue, {"aws:SourceArn": topic})
        yield Call(group, "take", "a failed event", "sqs:ReceiveMessage", queue)
        yield Call(group, "empty", "the queue", "sqs:PurgeQueue", queue)
        yield Call(group, "announce", "a backup", "events:PutEvents", f"{bus}:event-bus/default")
        yield Call(group, "put", "events on another bus", "events:PutEvents", f"{bus}:event-bus/other")
        yield Call(group, "see", "a schedule", "events:DescribeRule", self.arn("DailyBackupRule"))
        yield Call(group, "stop", "a schedule", "events:DisableRule", self.arn("DailyBackupRule"))
        for name, logs in {"backup-database": "BackupDatabaseLogs", "restore": "RestoreLogs"}.items():
            yield Call(group, "write", f"the log of `{name}`", "logs:PutLogEvents", self.arn(logs))
            yield Call(group, "read", f"the log of `{name}`", "logs:GetLogEvents", self.arn(logs))
            yield Call(group, "delete", f"the log of `{name}`", "logs:DeleteLogGroup", self.arn(logs))

    def _bucket_calls(self) -> Iterator[Call]:
        group = "Buckets of users"
        verbs = {
            "read": "GetObject",
            "write": "PutObject",
            "delete": "DeleteObject",
            "delete for good": "DeleteObjectVersion",
        }
        for name, bucket in {
            "a bucket of `SourceBuckets`": "photos",
            "a bucket of `RestoreBuckets`": "photos-back",
            "another bucket": "payroll",
        }.items():
            for verb, action in verbs.items():
                yield Call(group, verb, f"an object of {name}", f"s3:{action}", f"arn:aws:s3:::{bucket}/a/b.jpg")
            yield Call(group, "list", name, "s3:ListBucket", f"arn:aws:s3:::{bucket}")
            yield Call(group, "change", f"the policy of {name}", "s3:PutBucketPolicy", f"arn:aws:s3:::{bucket}")

    def _log_calls(self) -> Iterator[Call]:
        group, bucket = "Logs of accesses to the vault", self.arn("AccessLogBucket")
        line = f"{bucket}/vault/{ACCOUNT}/{REGION}/log"
        source = {"aws:SourceArn": self._bucket, "aws:SourceAccount": ACCOUNT}
        other = {"aws:SourceArn": "arn:aws:s3:::other", "aws:SourceAccount": "999988887777"}
        yield Call(group, "write", "logs of the vault", "s3:PutObject", line, source)
        yield Call(group, "write", "logs of another bucket", "s3:PutObject", line, other)
        yield Call(group, "read", "logs", "s3:GetObject", line)
        yield Call(group, "read", "logs without TLS", "s3:GetObject", line, {"aws:SecureTransport": "false"})
        yield Call(group, "list", "logs", "s3:ListBucket", bucket)
        yield Call(group, "delete", "logs", "s3:DeleteObject", line)
        for action in ("PutBucketPolicy", "PutLifecycleConfiguration", "DeleteBucket"):
            yield Call(group, "", f"`{action}`", f"s3:{action}", bucket)

    def _export_calls(self) -> Iterator[Call]:
        group, bucket = "Exported files", self.arn("ExportBucket")
        for verb, action in {"read": "GetObject", "write": "PutObject", "delete": "DeleteObject"}.items():
            yield Call(group, verb, "a file", f"s3:{action}", f"{bucket}/exports/{ID}/shop.dump.age")
        yield Call(group, "list", "files", "s3:ListBucket", bucket)
        for action in ("PutBucketPolicy", "PutLifecycleConfiguration", "DeleteBucket"):
            yield Call(group, "", f"`{action}`", f"s3:{action}", bucket)

    def _people_calls(self) -> Iterator[Call]:
        pool = f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/{REGION}_1"
        for verb, what, action in (
            ("add", "a person", "AdminCreateUser"),
            ("put", "a person into a group", "AdminAddUserToGroup"),
            ("change", "a person's password", "AdminSetUserPassword"),
            ("list", "people", "ListUsers"),
            ("change", "where codes are sent", "UpdateUserPoolClient"),
        ):
            yield Call("People of the console (`ConsoleSignIn=cognito`)", verb, what, f"cognito-idp:{action}", pool)

    def _setting_calls(self) -> Iterator[Call]:
        group = "How everything is set up"
        for action in (
            *("GetBucketVersioning", "GetLifecycleConfiguration", "GetReplicationConfiguration"),
            *("GetBucketPublicAccessBlock", "GetBucketPolicyStatus", "GetBucketAcl"),
        ):
            yield Call(group, "see", f"`{action}` of the vault", f"s3:{action}", self._bucket)
        stack = f"arn:aws:cloudformation:{REGION}:{ACCOUNT}:stack/{STACK}/1"
        yield Call(group, "see", "the resources of the stack", "cloudformation:ListStackResources", stack)
        yield Call(group, "see", "the events of the stack", "cloudformation:DescribeStackEvents", stack)
        yield Call(
            group, "see", "a schedule", "events:DescribeRule", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/{STACK}-1"
        )
        yield Call(group, "see", "subscribers of alerts", "sns:ListSubscriptionsByTopic", self.arn("AlertTopic"))
        table = self.arn("CatalogTable")
        yield Call(group, "see", "recovery of the catalog", "dynamodb:DescribeContinuousBackups", table)
        start = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:{STACK}"
        for action in ("GetFunctionConfiguration", "GetFunctionConcurrency"):
            yield Call(group, "see", f"`{action}` of `restore`", f"lambda:{action}", f"{start}-restore")
        yield Call(group, "see", "limits of the account", "lambda:GetAccountSettings", "*")
        for action in ("DescribeSubnets", "DescribeRouteTables", "DescribeVpcEndpoints"):
            yield Call(group, "see", f"`{action}` of the account", f"ec2:{action}", "*")
        photos = "arn:aws:s3:::photos"
        yield Call(group, "see", "versioning of a bucket of `SourceBuckets`", "s3:GetBucketVersioning", photos)


def _role(name: str) -> str:
    return f"arn:aws:iam::{ACCOUNT}:role/{STACK}-{name}"


def _statements(policy: Mapping[str, Any]) -> list[Statement]:
    return list(policy["PolicyDocument"]["Statement"])
