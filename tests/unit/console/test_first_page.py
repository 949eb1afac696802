"""What a process imports until its first page: a cold start pays for each module."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, sys
import handler
from coffre_console.pages import show
services = handler.app().console.services
assert services.catalog._table._connection.connection.session is services.session, "a second session is 0.1 s"
show.environment()
from pydantic import BaseModel
models = {one for module in list(sys.modules.values()) for one in vars(module).values() if isinstance(one, type)}
early = [one.__qualname__ for one in models if issubclass(one, BaseModel) and one.__module__.startswith("coffre")
         and not one.model_config.get("defer_build")]
print(json.dumps([sorted(sys.modules), early]))
"""
# For a sign-in, for the API, for other pages, for databases, for what is not in the layers; for backups themselves;
# for reports: each model costs 0.7 ms of the processor.
NOT_YET = (
    *("jwt", "cryptography", "coffre_console.api", "coffre.runtime.events.restore", "psycopg2", "boto3", "moto"),
    *("coffre.vault", "coffre.stores.s3", "coffre.model.manifest", "pyrage"),
    *("aws_lambda_powertools.event_handler", "asyncio", "coffre_console.access.login", "coffre_console.access.bearers"),
    *("coffre_console.downloads", "coffre_console.starting", "coffre_console.reading.runs", "coffre.policy.statistics"),
    *("coffre.model.drill_report", "coffre.model.verification", "coffre.model.rotation", "coffre.model.storage"),
    *("coffre.model.confirmation", "coffre.model.points", "coffre.model.restore_report", "coffre.model.journal_proof"),
)
PAGES = {"asked", "dashboard", "files", "show", "site", "texts"}


def test_until_the_first_page_only_what_it_needs_is_imported() -> None:
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(
            str(ROOT / one) for one in ("functions/console", "layers/coffre", "layers/console")
        ),
        "PYTHONDONTWRITEBYTECODE": "1",
        "AWS_DEFAULT_REGION": "eu-west-1",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "COFFRE_CONFIGURATION": "/coffre/configuration",
        "COFFRE_VAULT_BUCKET": "vault",
        "COFFRE_CATALOG_TABLE": "catalog",
        "COFFRE_ALERT_TOPIC_ARN": "arn:aws:sns:eu-west-1:111122223333:alerts",
        "COFFRE_STACK": "safe",
        "COFFRE_DOWNLOAD_ROLE": "arn:aws:iam::111122223333:role/download",
        "COFFRE_CONSOLE_ADDRESS": "https://backups.example.com",
    }
    said = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)

    assert said.returncode == 0, said.stderr
    modules, early = json.loads(said.stdout)
    imported = set(modules)
    assert len(early) < 5, f"validators are made when they are first used, by defer_build=True: not those of {early}"
    assert [one for one in NOT_YET if any(f"{name}.".startswith(f"{one}.") for name in imported)] == []
    pages = "coffre_console.pages."
    assert {one.removeprefix(pages) for one in imported if one.startswith(pages)} == PAGES
