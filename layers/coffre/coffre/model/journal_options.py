"""The options of a target's journal: what changed between backups, for restores to a moment (docs/point-in-time.md)."""

from __future__ import annotations

from typing import Final, Literal

from pydantic import Field

from coffre.model.document import Document

PUBLICATION: Final = "coffre"
"""The publication that the plugin pgoutput reads, in each database: its owner makes it."""

type PluginChoice = Literal["auto", "test_decoding", "pgoutput"]

_GIB: Final = 1 << 30
_MIB: Final = 1 << 20


class JournalOptions(Document):
    """Store what changes between backups. The server keeps WAL until it is stored: `maximum_lag_bytes` limits that."""

    every_minutes: int = Field(
        default=5,
        ge=1,
        le=1440,
        description="How often changes are stored: what a restore to a moment can lack at most.",
        examples=[1],
        json_schema_extra={"unit": "minutes"},
    )
    window_days: int = Field(
        default=7,
        ge=1,
        le=35,
        description="How far back a restore to a moment reaches.",
        examples=[14],
        json_schema_extra={"unit": "days"},
    )
    maximum_lag_bytes: int = Field(
        default=2 * _GIB,
        ge=128 * _MIB,
        description="WAL that the server may keep for the journal. With more the journal's slot is dropped.",
        examples=[8 * _GIB],
        json_schema_extra={"unit": "bytes"},
    )
    plugin: PluginChoice = Field(
        default="auto",
        description="The server's output plugin; auto: test_decoding, or what the provider's profile says. pgoutput"
        " needs a publication (docs/point-in-time.md).",
        examples=["pgoutput"],
    )
