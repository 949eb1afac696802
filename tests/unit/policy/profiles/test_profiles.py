"""Providers are recognized by what their servers show, or named by the configuration."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from coffre.model.provider import Provider
from coffre.policy.profiles import ProviderFacts, all_profiles, all_signs, detect, is_reserved

ROOT = Path(__file__).resolve().parents[4]


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (ProviderFacts(), "plain"),
        (ProviderFacts("db.example.com", roles=frozenset({"postgres"})), "plain"),
        (ProviderFacts("db.abcdefghijklmnopqrst.supabase.co"), "supabase"),
        (ProviderFacts("AWS-0-eu-west-3.pooler.supabase.com."), "supabase"),
        (ProviderFacts("10.0.0.7", roles=frozenset({"supabase_admin"})), "supabase"),
        (ProviderFacts("ep-cool-sea-a1.eu-central-1.aws.neon.tech"), "neon"),
        (ProviderFacts("10.0.0.7", settings=frozenset({"neon.timeline_id"})), "neon"),
        (ProviderFacts("shop.cabc.eu-west-3.rds.amazonaws.com"), "rds"),
        (ProviderFacts("database.internal", settings=frozenset({"rds.extensions"})), "rds"),
        (ProviderFacts("shop.cluster-cabc.eu-west-3.rds.amazonaws.com"), "aurora"),
        (ProviderFacts("shop.cluster-ro-cabc.eu-west-3.rds.amazonaws.com"), "aurora"),
        (
            ProviderFacts(
                "shop.cabc.eu-west-3.rds.amazonaws.com",
                settings=frozenset({"rds.extensions"}),
                functions=frozenset({"aurora_version"}),
            ),
            "aurora",
        ),
        (ProviderFacts("supabase.co.example.com"), "plain"),
        (ProviderFacts("notneon.tech"), "plain"),
    ],
)
def test_a_server_is_recognized_by_any_of_its_signs(facts: ProviderFacts, name: str) -> None:
    assert detect(facts).name == name


def test_the_configuration_overrides_what_is_recognized() -> None:
    facts = ProviderFacts("db.abcdefghijklmnopqrst.supabase.co")

    assert detect(facts, "plain").name == "plain"
    assert detect(ProviderFacts(), "supabase").name == "supabase"


def test_every_provider_that_can_be_configured_has_a_profile_and_a_document() -> None:
    assert set(all_profiles()) == set(get_args(Provider)) - {"auto"}
    for profile in all_profiles().values():
        assert (ROOT / profile.docs).is_file()
        assert profile.address.use.endswith(".")
        assert profile.warnings


def test_every_sign_is_asked_for() -> None:
    signs = all_signs()

    assert {"rds.extensions", "neon.timeline_id"} <= set(signs.settings)
    assert signs.roles == ("supabase_admin",)
    assert signs.functions == ("aurora_version",)


@pytest.mark.parametrize("name", ["postgres", "pg_monitor", "supabase_admin", "rdsadmin", "neon_superuser", "doadmin"])
def test_roles_of_postgresql_and_of_providers_are_reserved(name: str) -> None:
    assert is_reserved(name)


@pytest.mark.parametrize("name", ["app", "anonymous", "my_supabase", "postgres_exporter", "neo"])
def test_other_roles_are_not(name: str) -> None:
    assert not is_reserved(name)


def test_reasons_are_parts_of_sentences() -> None:
    for profile in all_profiles().values():
        reasons = [rule.reason for rule in profile.rows.left_out] + list(profile.words.values())
        assert [reason for reason in reasons if re.search(r"[.]$|\n", reason)] == []
