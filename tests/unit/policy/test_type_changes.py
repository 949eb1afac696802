"""Which types read the values of others as something else in silence: as PostgreSQL does it."""

from __future__ import annotations

import pytest

from coffre.policy.type_changes import can_lose


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("numeric(10,4)", "numeric(10,2)"),
        ("numeric", "numeric(10,2)"),
        ("numeric(10,4)[]", "numeric(10,2)[]"),
        ("double precision", "numeric(12,2)"),
        ("integer", "numeric(3,-2)"),
        ("double precision", "real"),
        ("bigint", "double precision"),
        ("numeric(10,4)", "money"),
        ("timestamp without time zone", "date"),
        ("timestamp with time zone", "timestamp without time zone"),
        ("date", "timestamp with time zone"),
        ("timestamp(6) without time zone", "timestamp(0) without time zone"),
        ("timestamp without time zone", "time without time zone"),
        ("interval", "interval day to hour"),
        ("interval", "interval(0)"),
        ("text", "character varying(20)"),
        ("character varying(50)", "character varying(20)"),
        ("text", "name"),
        ("json", "jsonb"),
    ],
)
def test_what_is_rounded_or_cut(then: str, now: str) -> None:
    assert can_lose(then, now)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ("numeric(10,2)", "numeric(10,2)"),
        ("numeric(10,2)", "numeric(12,4)"),
        ("numeric(10,2)", "numeric"),
        ("numeric(5)", "numeric(8)"),
        ("integer", "numeric(10,0)"),
        ("integer", "bigint"),
        ("numeric(10,2)", "integer"),
        ("real", "double precision"),
        ("timestamp(0) with time zone", "timestamp with time zone"),
        ("timestamp(3) with time zone", "timestamp(6) with time zone"),
        ("date", "timestamp without time zone"),
        ("interval(3)", "interval"),
        ("character varying(20)", "character varying(50)"),
        ("character varying(20)", "text"),
        ("jsonb", "json"),
        ("text", "public.mood"),
        ("public.geometry(Point,4326)", "public.geometry(Point,3857)"),
    ],
)
def test_what_is_kept_or_refused_with_an_error(then: str, now: str) -> None:
    assert not can_lose(then, now)
