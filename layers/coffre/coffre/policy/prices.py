"""What AWS charges: `prices.toml`, by region. Decimals in US dollars; a GB is 2**30 bytes, as S3 bills it."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final

GB: Final = 2**30
_OTHERS: Final = "eu-central-1"
_TABLE: Final = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class Prices:
    """The price of one unit of each kind, in US dollars.

    `region` is the one whose prices these are; `is_exact` says whether it is the one that was asked for. `unsourced`
    are the groups of the table whose numbers could not be looked up.
    """

    region: str
    is_exact: bool
    read_on: date
    unsourced: tuple[str, ...]
    gb_month: Decimal
    write: Decimal
    read: Decimal
    catalog_write: Decimal
    catalog_read: Decimal
    x86_gb_second: Decimal
    arm_gb_second: Decimal
    invocation: Decimal
    kms_request: Decimal
    transition: Decimal
    gb_out: Decimal
    gb_to_another_region: Decimal


def prices_of(region: str | None) -> Prices:
    """Return the prices of a region; one that is not in the table gets those of the dearest in it."""
    table = _table()
    like = table["regions"].get(region or "")
    name: str = like or _OTHERS
    found: Mapping[str, Mapping[str, str]] = table["classes"][name]
    storage, catalog, function = found["storage"], found["catalog"], found["function"]
    return Prices(
        region=name,
        is_exact=like is not None,
        read_on=date.fromisoformat(table["read_on"]),
        unsourced=tuple(group for group, numbers in found.items() if "source" not in numbers),
        gb_month=Decimal(storage["gb_month"]),
        write=Decimal(storage["thousand_writes"]) / 1_000,
        read=Decimal(storage["thousand_reads"]) / 1_000,
        catalog_write=Decimal(catalog["million_writes"]) / 1_000_000,
        catalog_read=Decimal(catalog["million_reads"]) / 1_000_000,
        x86_gb_second=Decimal(function["x86_gb_second"]),
        arm_gb_second=Decimal(function["arm_gb_second"]),
        invocation=Decimal(function["million_requests"]) / 1_000_000,
        kms_request=Decimal(found["kms"]["ten_thousand_requests"]) / 10_000,
        transition=Decimal(found["machine"]["thousand_transitions"]) / 1_000,
        gb_out=Decimal(found["transfer"]["gb_out"]),
        gb_to_another_region=Decimal(found["copy"]["gb_to_another_region"]),
    )


@cache
def _table() -> dict[str, Any]:
    return tomllib.loads(_TABLE.read_text())
