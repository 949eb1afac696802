"""What a run used, as far as it is billed. Whole numbers only: sums of any number of invocations stay exact."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Self

from pydantic import Field

from coffre.model.document import FrozenModel


class Job(StrEnum):
    """Which function ran."""

    BACKUP = "backup"
    RESTORE = "restore"
    VERIFY = "verify"
    DRILL = "drill"
    ROTATE = "rotate"
    COPY = "copy"
    JOURNAL = "journal"


class Counts(FrozenModel):
    """What is counted, attempts that were repeated included.

    `function_mb_ms` is memory (MB) times duration (ms). Writes are PUT, COPY, POST and LIST requests, reads GET, HEAD
    and others; requests that delete are free. `source_*` are those to the users' buckets. Bytes are those of bodies:
    `sent` by the function, `received` by it; `outside_bytes` were sent to a store that is not AWS. `kms_requests` are
    requests for which the vault asks KMS: none without a key, or with an S3 bucket key. `transitions` are those of a
    state machine that spreads a run over several functions.
    """

    invocations: int = Field(default=0, ge=0)
    function_mb_ms: int = Field(default=0, ge=0)
    vault_writes: int = Field(default=0, ge=0)
    vault_reads: int = Field(default=0, ge=0)
    vault_sent_bytes: int = Field(default=0, ge=0)
    vault_received_bytes: int = Field(default=0, ge=0)
    source_writes: int = Field(default=0, ge=0)
    source_reads: int = Field(default=0, ge=0)
    source_sent_bytes: int = Field(default=0, ge=0)
    source_received_bytes: int = Field(default=0, ge=0)
    outside_bytes: int = Field(default=0, ge=0)
    kms_requests: int = Field(default=0, ge=0)
    transitions: int = Field(default=0, ge=0)

    def plus(self, other: Self) -> Self:
        """Return both together."""
        return type(self)(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class Usage(Counts):
    """What one run used, all its invocations together. `target` is None for a job that is about all of them.

    `estimated`: derived from a record that is older than the counts.
    """

    id: str
    job: Job
    target: str | None = None
    at: datetime
    is_arm: bool = False
    estimated: bool = False

    @property
    def counts(self) -> Counts:
        """The counts alone."""
        return Counts(**{name: getattr(self, name) for name in Counts.model_fields})

    @property
    def gb_seconds(self) -> Decimal:
        """Memory (in units of 1,024 MB, as Lambda bills it) times seconds."""
        return Decimal(self.function_mb_ms) / (1_024 * 1_000)


class Spent(FrozenModel):
    """What a month cost until now, and what all of it costs if it continues like this, in US dollars."""

    until_now: Decimal
    whole_month: Decimal
