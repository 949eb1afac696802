"""The section `console` of the configuration: who may sign in, with which role, and which CI jobs are trusted."""

from __future__ import annotations

from typing import Annotated, Final, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from coffre.model.document import Document
from coffre.model.target import TargetName

Role = Literal["viewer", "operator", "restorer", "admin"]
Forge = Literal["github", "gitlab"]

ISSUERS: Final = {"github": "https://token.actions.githubusercontent.com", "gitlab": "https://gitlab.com"}
"""Who signs the tokens of CI jobs, as `iss` has it (docs.github.com, docs.gitlab.com, 2026-11)."""
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def _address(text: str) -> str:
    parts = urlsplit(text)
    is_here = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not (is_here or parts.scheme == "https") or not parts.hostname:
        raise ValueError("should be an https:// address")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError("should have no query, no fragment and no user name")
    return text


Address = Annotated[
    str, Field(min_length=8, max_length=512, pattern=r"^[!-~]+$", description="a URL"), AfterValidator(_address)
]
_Line = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
# The role of the console reads no other secret.
_Secret = Annotated[
    str, Field(pattern=r"^coffre/console/[A-Za-z0-9/_+=.@-]{1,200}$", description="a secret below coffre/console/")
]
_Number = Annotated[str, Field(pattern=r"^[1-9][0-9]{0,19}$", description="a number, as text")]
_Ref = Annotated[str, Field(pattern=r"^refs/(heads|tags)/[^\x00-\x20\x7f*?\[\\^~:]{1,200}$", description="a full ref")]


class ConsoleRole(Document):
    """A role for the members of one group of the identity provider."""

    group: _Line = Field(description="The group, exactly as the identity provider says it.", examples=["dba"])
    role: Role = Field(
        description="viewer sees, operator also backs up and verifies, restorer also restores parts, admin does all.",
        examples=["operator"],
    )
    targets: tuple[TargetName, ...] = Field(
        default=(),
        max_length=1000,
        description="The targets that the role is for; a server stands for its databases. Empty: all.",
        examples=[["shop"]],
    )


class Trust(Document):
    """A CI job that may start backups with the token that its forge gives it: no key is stored anywhere.

    Names of repositories can pass to other owners: only the numbers count, and `repository` is for people.
    """

    name: TargetName = Field(description="Names the entry in the audit.", examples=["deploys"])
    forge: Forge = Field(description="Whose CI it is.", examples=["github"])
    issuer: Address | None = Field(
        default=None,
        description="Who signs the tokens, for a GitLab or GitHub Enterprise of your own. null: the public one.",
        examples=["https://gitlab.example.com"],
    )
    repository: _Line = Field(description="The repository's name, for people.", examples=["acme/shop"])
    repository_id: _Number = Field(
        description="The repository's number (GitLab: the project's).", examples=["123456789"]
    )
    owner_id: _Number = Field(description="Its owner's number (GitLab: the namespace's).", examples=["1234567"])
    refs: tuple[_Ref, ...] = Field(
        default=(),
        max_length=50,
        description="Branches and tags whose jobs are trusted. Empty: environments decides alone.",
        examples=[["refs/heads/main"]],
    )
    environments: tuple[_Line, ...] = Field(
        default=(),
        max_length=50,
        description="Deployment environments whose jobs are trusted. Empty: refs decides alone.",
        examples=[["production"]],
    )
    targets: tuple[TargetName, ...] = Field(
        min_length=1,
        max_length=100,
        description="The targets that the job may back up; a server stands for its databases.",
        examples=[["shop"]],
    )

    @property
    def signer(self) -> str:
        """Who signs the tokens: the exact value of `iss`."""
        return self.issuer or ISSUERS[self.forge]

    @model_validator(mode="after")
    def _says_which_jobs(self) -> Self:
        if not (self.refs or self.environments):
            raise ValueError("name at least one of refs and environments: otherwise every branch's job is trusted")
        return self


class Console(Document):
    """Who may use the console and its API (docs/console.md)."""

    address: Address | None = Field(
        default=None,
        description="Where browsers find the console, for a domain of your own. null: the API's own address.",
        examples=["https://backups.example.com"],
    )
    issuer: Address = Field(
        description="The OpenID Connect issuer that people sign in with, exactly as its tokens have it.",
        examples=["https://login.example.com/realms/acme"],
    )
    client_id: _Line = Field(description="The console's client id at the issuer.", examples=["coffre"])
    client_secret: _Secret | None = Field(
        default=None,
        description="The name of the secret with the client's secret. null: a public client, with PKCE alone.",
        examples=["coffre/console/client"],
    )
    groups_claim: _Line = Field(
        default="groups",
        description="The claim that lists a person's groups; for Cognito cognito:groups.",
        examples=["cognito:groups"],
    )
    api_audience: _Line | None = Field(
        default=None,
        description="The audience of access tokens that the API takes from people. null: none but Cognito's.",
        examples=["https://backups.example.com/api"],
    )
    roles: tuple[ConsoleRole, ...] = Field(
        min_length=1,
        max_length=200,
        description="Which group has which role. Who is in none of the groups has no access.",
        examples=[[{"group": "dba", "role": "admin"}, {"group": "dev", "role": "viewer", "targets": ["shop"]}]],
    )
    trust: tuple[Trust, ...] = Field(
        default=(),
        max_length=100,
        description="CI jobs that may start backups without a stored key.",
        examples=[
            [
                {
                    "name": "deploys",
                    "forge": "github",
                    "repository": "acme/shop",
                    "repository_id": "123456789",
                    "owner_id": "1234567",
                    "environments": ["production"],
                    "targets": ["shop"],
                }
            ]
        ],
    )

    @classmethod
    def of_user_pool(cls, issuer: str, client_id: str) -> Self:
        """Return the section for a Cognito user pool that the stack has made: each role has the group of its name."""
        roles = tuple(ConsoleRole(group=role, role=role) for role in get_args(Role))
        return cls(issuer=issuer, client_id=client_id, groups_claim="cognito:groups", roles=roles)

    @model_validator(mode="after")
    def _tokens_are_told_apart(self) -> Self:
        if self.api_audience is not None and self.api_audience == self.client_id:
            raise ValueError("api_audience is client_id: then a sign-in's ID token would open the API")
        if self.issuer in {one.signer for one in self.trust}:
            raise ValueError("issuer signs tokens of CI jobs too: people and jobs need different issuers")
        names = [one.name for one in self.trust]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"each entry of trust needs its own name; used twice: {', '.join(twice)}")
        return self

    @property
    def named_targets(self) -> frozenset[str]:
        """Every target that a role or an entry of `trust` names."""
        named = [*(one.targets for one in self.roles), *(one.targets for one in self.trust)]
        return frozenset(name for targets in named for name in targets)
