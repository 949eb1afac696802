"""A recovery kit says how the vault is copied to this machine, wherever it is."""

import pytest

from coffre_cli.commands.keys.kit_facts import VaultFacts


@pytest.mark.parametrize(
    ("address", "command"),
    [
        ("/media/my disk", "cp -r '/media/my disk' vault"),
        ("s3://acme/coffre", "aws s3 sync s3://acme/coffre vault"),
        ("gs://acme/coffre", "gcloud storage rsync --recursive gs://acme/coffre vault"),
        (
            "azure://acme/copy/coffre",
            "azcopy copy 'https://acme.blob.core.windows.net/copy/coffre/*' vault --recursive",
        ),
    ],
)
def test_the_vault_is_copied_by_the_tool_of_its_provider(address: str, command: str) -> None:
    assert VaultFacts(address=address).copy_command == command
