"""`coffre ci`: what is printed is a pipeline of the forge, and its entry is one that the configuration takes."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
import yaml
from tests.unit.cli.conftest import Account, Coffre

from coffre.model.console import Trust

NUMBERS = ("--repository", "acme/shop", "--repository-id", "1234", "--owner-id", "77")
URL = ("--url", "https://backups.example.com/")


def asked(coffre: Coffre, *arguments: str) -> dict[str, Any]:
    said = coffre("ci", *arguments, *URL, "--json")
    assert said.status == 0, said.err
    found: dict[str, Any] = said.json()
    return found


def test_a_workflow_of_github_asks_for_a_token_and_nothing_else(coffre: Coffre, account: Account) -> None:
    found = asked(coffre, "github", "--target", "shop", *NUMBERS, "--environment", 'prod"; x')
    workflow = yaml.safe_load(found["workflow"])
    assert workflow["permissions"] == {"id-token": "write"}
    job = workflow["jobs"]["backup"]
    assert job["environment"] == 'prod"; x'
    assert job["env"] == {"CONSOLE": "https://backups.example.com"}
    [step] = job["steps"]
    assert '"$CONSOLE/api/v1/trigger/backup-database?target=shop"' in step["run"]
    assert Trust.model_validate(found["trust"]).environments == ('prod"; x',)
    assert len(found["workflow"].splitlines()) <= 16


def test_the_steps_are_a_script_that_a_shell_reads(coffre: Coffre, account: Account) -> None:
    github = yaml.safe_load(asked(coffre, "github")["workflow"])["jobs"]["backup"]["steps"][0]["run"]
    [gitlab] = yaml.safe_load(asked(coffre, "gitlab")["workflow"])["backup"]["script"]
    for script in (github, gitlab):
        subprocess.run(["sh", "-n", "-c", script], check=True, timeout=30)
        assert "-H @-" in script
        assert "curl -H" not in script, "tokens are no arguments"


def test_a_job_of_gitlab_has_a_token_for_the_console_alone(coffre: Coffre, account: Account) -> None:
    account.configure_buckets("files", "avatars")
    found = asked(coffre, "gitlab", "--target", "files", *NUMBERS, "--ref", "refs/heads/main")
    job = yaml.safe_load(found["workflow"])["backup"]
    assert job["id_tokens"] == {"COFFRE_TOKEN": {"aud": "https://backups.example.com"}}
    assert "trigger/backup-buckets?target=files" in job["script"][0]
    trust = Trust.model_validate(found["trust"])
    assert (trust.signer, trust.refs, trust.targets) == ("https://gitlab.com", ("refs/heads/main",), ("files",))


def test_without_numbers_the_entry_says_what_is_missing(coffre: Coffre, account: Account) -> None:
    said = coffre("ci", "github", *URL)
    assert said.status == 0
    assert yaml.safe_load(said.out)["name"] == "backup"
    assert '"repository_id": "NUMBER"' in said.err
    entry = json.loads(said.err.partition("(coffre config edit):")[2])
    with pytest.raises(ValueError, match="repository_id"):
        Trust.model_validate(entry)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["github", *URL, "--repository-id", "acme/shop"], "--repository-id: "),
        (["github", *URL, "--ref", "main"], "--ref: "),
        (["gitlab", *URL, "--environment", "a\nb"], "--environment: "),
        (["github", "--url", "http://backups.example.com"], "--url should be"),
        (["github"], "--url is needed"),
    ],
)
def test_wrong_usage_is_one_error(coffre: Coffre, account: Account, arguments: list[str], said: str) -> None:
    found = coffre("ci", *arguments)
    assert (found.status, found.out) == (2, "")
    assert said in " ".join(found.err.replace("│", " ").split())


def test_an_unknown_target_is_refused(coffre: Coffre, account: Account) -> None:
    found = coffre("ci", "github", "--target", "nope", *URL)
    assert (found.status, found.out) == (1, "")
    assert "TARGET_UNKNOWN" in found.err
