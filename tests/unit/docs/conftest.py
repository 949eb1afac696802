"""The account and the vaults of the command's own tests, for the samples of the documentation."""

from __future__ import annotations

from tests.unit.cli.config.conftest import scene as configuration
from tests.unit.cli.conftest import account, aws_environment
from tests.unit.cli.keys.conftest import keys

__all__ = ["account", "aws_environment", "configuration", "keys"]
