"""How a Git server is reached: over HTTP by connections of our own, over ssh by the program of that name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dulwich.client import AbstractHttpGitClient, SSHVendor, SubprocessWrapper
from dulwich.errors import GitProtocolError
from urllib3.response import BaseHTTPResponse

from coffre.buckets.repositories.credentials import Credentials
from coffre.buckets.repositories.git_errors import refusal
from coffre.buckets.repositories.git_http import Wire
from coffre.model.errors import StoreError
from coffre.model.repositories import RepositoryAddress


def private_file(path: Path, text: str) -> Path:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text if text.endswith("\n") else f"{text}\n")
    return path


class HttpClient(AbstractHttpGitClient):
    """The protocol over our own connections: the token goes to the configured server alone."""

    def __init__(self, address: RepositoryAddress, credentials: Credentials, wire: Wire) -> None:
        # The default would be a thin pack, which is not complete in itself.
        super().__init__(address.url, thin_packs=False, quiet=True)
        self._address, self._credentials, self._wire = address, credentials, wire

    def _http_request(
        self,
        url: str,
        headers: dict[str, str] | None = None,
        data: bytes | Iterator[bytes] | None = None,
        raise_for_status: bool = True,  # noqa: ARG002, FBT001 - of dulwich
    ) -> tuple[Any, Callable[[int], bytes]]:
        if not url.startswith(f"{self._address.url}/"):
            raise StoreError(
                f"{self._address.name} refers to another server for its objects, which is not followed.",
                code="REPOSITORY_MOVED",
            )
        sent = {**(headers or {}), **self._credentials.basic, "User-Agent": "git/coffre"}
        method = "GET" if data is None else "POST"
        response: Any = self._wire.request("git", method, url, headers=sent, body=data)
        if response.status != 200:
            response.close()
            raise refusal(self._address.name, response.status, _lower(response), self._credentials)
        response.content_type = response.headers.get("Content-Type")
        # Without it, dulwich falls back to a protocol that reads whatever files the server names.
        if not (response.content_type or "").startswith("application/x-git-"):
            response.close()
            raise GitProtocolError("unexpected content type")
        response.redirect_location = ""
        return response, lambda amount=None: self._wire.read(response, amount)


def _lower(response: BaseHTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.headers.items()}


@dataclass
class Ssh(SSHVendor):
    """OpenSSH with the deploy key alone, and no configuration of the machine."""

    program: str
    key: Path
    known_hosts: Path
    environment: Mapping[str, str] = field(default_factory=dict)

    def run_command(
        self,
        host: str,
        command: bytes,
        username: str | None = None,
        port: int | None = None,
        password: str | None = None,  # noqa: ARG002 - of dulwich
        key_filename: str | None = None,  # noqa: ARG002 - of dulwich
        ssh_command: str | None = None,  # noqa: ARG002 - of dulwich
        protocol_version: int | None = None,  # noqa: ARG002 - of dulwich
    ) -> SubprocessWrapper:
        arguments = [self.program, "-F", os.devnull, "-T", "-x", "-i", str(self.key)]
        for option in (
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
            "StrictHostKeyChecking=yes",
            f"UserKnownHostsFile={self.known_hosts}",
            "GlobalKnownHostsFile=/dev/null",
            "ForwardAgent=no",
            "ClearAllForwardings=yes",
            "ConnectTimeout=20",
            "ServerAliveInterval=30",
        ):
            arguments += ["-o", option]
        if port:
            arguments += ["-p", str(port)]
        process = subprocess.Popen(
            [*arguments, "--", f"{username or 'git'}@{host}", command.decode()],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ.get("PATH", ""), **self.environment},
        )
        return SubprocessWrapper(process)
