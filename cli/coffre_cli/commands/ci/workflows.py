"""The texts of pipelines that start a backup with the token that their forge gives each job."""

from __future__ import annotations

import json
from string import Template
from typing import Final

# Tokens go through stdin: the arguments of a process are visible to others.
_GITHUB: Final = Template("""\
name: backup
on:
  schedule: [{cron: "17 3 * * *"}]
  workflow_dispatch:
permissions: {id-token: write}
jobs:
  backup:
    runs-on: ubuntu-24.04
$environment    env: {CONSOLE: $console}
    steps:
      - run: |
          printf 'Authorization: Bearer %s' "$$ACTIONS_ID_TOKEN_REQUEST_TOKEN" |
            curl -sS --fail -G -H @- --data-urlencode "audience=$$CONSOLE" "$$ACTIONS_ID_TOKEN_REQUEST_URL" |
            jq -r '"Authorization: Bearer " + .value' |
            curl -sS --fail-with-body -X POST -H @- "$$CONSOLE/api/v1/trigger/$trigger?target=$target"
""")
_GITLAB: Final = Template("""\
backup:
  image: {name: curlimages/curl:8.16.0, entrypoint: [""]}
  rules: [{if: $$CI_PIPELINE_SOURCE == "schedule" || $$CI_PIPELINE_SOURCE == "web"}]
$environment  variables: {CONSOLE: $console}
  id_tokens: {COFFRE_TOKEN: {aud: $console}}
  script:
    - >-
      printf 'Authorization: Bearer %s' "$$COFFRE_TOKEN" |
      curl -sS --fail-with-body -X POST -H @- "$$CONSOLE/api/v1/trigger/$trigger?target=$target"
""")


def github(console: str, trigger: str, target: str, environment: str | None) -> str:
    """Return a workflow for GitHub Actions; `console` is the address of the console, `trigger` the last of the path."""
    return _filled(_GITHUB, console, trigger, target, f"    environment: {_text(environment)}\n" if environment else "")


def gitlab(console: str, trigger: str, target: str, environment: str | None) -> str:
    """Return a job for GitLab CI, as `github` does."""
    return _filled(_GITLAB, console, trigger, target, f"  environment: {_text(environment)}\n" if environment else "")


def _filled(template: Template, console: str, trigger: str, target: str, environment: str) -> str:
    return template.substitute(console=_text(console), trigger=trigger, target=target, environment=environment)


def _text(value: str | None) -> str:
    """Return a text as YAML has it: JSON's texts are YAML's."""
    return json.dumps(value)
