"""A thousand random sequences of plans, confirmations, replays and tricks: nothing is overwritten without a fresh act.

The oracle below knows nothing of tokens in tables: it remembers what each person did, and when.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from moto import mock_aws
from tests.catalog_table import create
from tests.played_account import empty_table

from coffre.catalog.catalog import Catalog
from coffre.model.audit import Actor
from coffre.model.confirmation import Act, Confirmation, Facts, Overwritten, Plan, Request, Seen
from coffre.model.errors import ConfirmationError
from coffre.operations.confirm.confirm import Confirming

SEQUENCES: Final = 100
STEPS: Final = 9
MB: Final = 1_000_000
ADA, GRACE, EVE = (Actor(name, verified=True) for name in ("arn:ada", "arn:grace", "arn:eve"))
CLAIMS_ADA: Final = Actor("arn:ada", verified=False)


@dataclass(frozen=True)
class World:
    """The destination: which database has the name, its definitions, its size."""

    oid: int = 1
    schema: int = 1
    size: int = 500 * MB

    def facts(self) -> Facts:
        return Facts(exact={"oid": str(self.oid), "schema": str(self.schema)}, sizes={"size": self.size})


@dataclass(frozen=True)
class Wish:
    """What an event asks for."""

    act: Act = Act.RESTORE
    backup: str = "backup-1"
    manifest: str = "a" * 64
    scope: str = "replace"
    destination: str = "db:5432/shop"
    name: str = "café"

    def plan(self, world: World) -> Plan:
        scope = {"mode": "mirror"} if self.scope == "mirror" else {self.scope: True}
        request = Request(
            act=self.act, target="shop", backup_id=self.backup, manifest_sha256=self.manifest, scope=scope
        )
        return Plan(
            request=request,
            seen=Seen(destination=self.destination, name="café", facts=world.facts(), overwrites=Overwritten(tables=1)),
        )

    @property
    def may_need_approval(self) -> bool:
        return self.act is Act.DELETION or self.scope in ("replace", "mirror")


@dataclass
class Planned:
    """What the oracle remembers of a plan."""

    token: str
    plan_id: str
    plan_sha256: str
    maker: Actor
    wish: Wish
    world: World
    ends_at: datetime
    approvals: int
    approved: bool = False
    declined: bool = False
    used: bool = False


@dataclass
class Game:
    """One sequence."""

    catalog: Catalog
    random: random.Random
    now: datetime = datetime(2026, 11, 28, 3, tzinfo=UTC)
    world: World = field(default_factory=World)
    demanded: int = 0
    planned: list[Planned] = field(default_factory=list)
    overwritten: int = 0
    acts: int = 0

    def confirming(self, actor: Actor, clock: Callable[[], datetime] | None = None) -> Confirming:
        return Confirming(self.catalog, actor, clock or (lambda: self.now), lambda target: self.demanded, self._refused)

    def _refused(self, action: str, error: ConfirmationError, target: str) -> None:
        assert (action.rpartition(".")[2], target) in {
            ("confirmed", "shop"),
            ("approved", "shop"),
            ("declined", "shop"),
        }
        assert error.code

    # --- what people and attackers do ---

    def plan(self) -> None:
        wish = replace(Wish(), scope=self.random.choice(["replace", "apply", "restart", "mirror"]))
        if self.random.random() < 0.2:
            wish = replace(wish, act=Act.DELETION)
        actor = self.random.choice([ADA, ADA, EVE, CLAIMS_ADA])
        approvals = self.demanded if wish.may_need_approval else 0
        if approvals and not actor.verified:
            with pytest.raises(ConfirmationError):
                self.confirming(actor).give_out(wish.plan(self.world))
            return
        answer = self.confirming(actor).give_out(wish.plan(self.world))
        lives = timedelta(hours=1) if approvals else timedelta(minutes=10)
        said = answer["plan"]
        if answer["token"] is None:  # it waits since an earlier wish
            [known] = [one for one in self.planned if one.plan_id == said["id"]]
            assert (known.maker, known.wish, known.world, approvals) == (actor, wish, self.world, 1)
            assert (known.used, known.declined) == (False, False)
            return
        self.planned.append(
            Planned(answer["token"], said["id"], said["sha256"], actor, wish, self.world, self.now + lives, approvals)
        )

    def wait(self) -> None:
        self.now += self.random.choice(
            [timedelta(seconds=1), timedelta(minutes=4), timedelta(minutes=9, seconds=59), timedelta(minutes=10)]
        )

    def traffic(self) -> None:
        self.world = replace(self.world, size=self.world.size * self.random.choice([90, 101, 120]) // 100)

    def change(self) -> None:
        self.world = self.random.choice(
            [
                replace(self.world, oid=self.world.oid + 1),
                replace(self.world, schema=self.world.schema + 1),
                replace(self.world, size=self.world.size * 5),
                replace(self.world, size=MB),
                World(),
            ]
        )

    def demand(self) -> None:
        self.demanded = 1 - self.demanded

    def approve(self) -> None:
        if not self.planned:
            return
        one = self.random.choice(self.planned)
        approver = self.random.choice([ADA, GRACE, GRACE, Actor("arn:grace", verified=False), CLAIMS_ADA])
        shown = one.plan_sha256 if self.random.random() < 0.8 else "0" * 64
        expected = (
            not one.used
            and not one.approved
            and not one.declined
            and one.approvals == 1
            and self.now < one.ends_at
            and shown == one.plan_sha256
            and approver.verified
            and approver.name != one.maker.name
        )
        try:
            self.confirming(approver).approve(one.plan_id, shown)
        except ConfirmationError:
            assert not expected
            return
        assert expected
        one.approved, one.ends_at = True, max(one.ends_at, self.now + timedelta(minutes=10))

    def decline(self) -> None:
        if not self.planned or self.random.random() < 0.7:
            return
        one, who = self.random.choice(self.planned), self.random.choice([ADA, GRACE, CLAIMS_ADA])
        expected = who.verified and one.approvals == 1 and self.now < one.ends_at and not (one.used or one.declined)
        try:
            self.confirming(who).decline(one.plan_id, one.plan_sha256, "not now")
        except ConfirmationError:
            assert not expected
            return
        assert expected
        one.declined = True

    def apply(self) -> None:
        """Confirm with a plan's token, as it was or with one thing changed."""
        if not self.planned:
            return
        one = self.random.choice(self.planned)
        wish, actor, token = one.wish, one.maker, one.token
        trick = self.random.randrange(9)
        if trick == 0:
            wish = replace(wish, scope="apply" if wish.scope == "replace" else "replace")
        elif trick == 1:
            wish = replace(wish, backup="backup-2")
        elif trick == 2:
            wish = replace(wish, destination="db:5432/live")
        elif trick == 3:
            wish = replace(wish, name=self.random.choice(["caf", "cafe", "саfé", "café ", "CAFÉ"]))
        elif trick == 4:
            actor = self.random.choice([GRACE, EVE, CLAIMS_ADA])
        elif trick == 5:
            token = self.random.choice([token[:-1] + "_", one.plan_id, "x" * 43])
        elif trick == 6:
            wish = replace(wish, manifest="b" * 64)
        elif trick == 7:
            wish = replace(wish, name="cafe\u0301")  # the same name, as another keyboard composes it
        self._confirm(one, wish, actor, None if self.random.random() < 0.3 else token)

    def race(self) -> None:
        """Use a token twice at the same moment: the second use comes between the first one's look and its delete."""
        if not self.planned:
            return
        one = self.random.choice(self.planned)
        calls = 0
        before = self.overwritten

        def clock() -> datetime:
            nonlocal calls
            calls += 1
            if calls == 2:
                self._confirm(one, one.wish, one.maker, one.token)
            return self.now

        try:
            given = Confirmation(token=one.token, name=one.wish.name)
            self.confirming(one.maker, clock).confirm(one.wish.plan(self.world), given, "run")
            self.overwritten += 1
        except ConfirmationError:
            pass
        assert self.overwritten - before <= 1

    def _confirm(self, one: Planned, wish: Wish, actor: Actor, token: str | None) -> None:
        """Confirm with this token; None: with the plan's id in place of it."""
        expected = self._may(one, wish, actor, one.token if token is None else token)
        expected = expected and (token is not None or (one.approved and one.approvals == 1))
        try:
            given = Confirmation(token=token, plan=one.plan_id if token is None else None, name=wish.name)
            self.confirming(actor).confirm(wish.plan(self.world), given, "run")
        except ConfirmationError:
            assert not expected, f"{one} refused {wish} of {actor} in {self.world}"
            return
        assert expected, f"{one} allowed {wish} of {actor} in {self.world}"
        one.used = True
        self.overwritten += 1
        self.acts += 1

    def _may(self, one: Planned, wish: Wish, actor: Actor, token: str) -> bool:
        is_same = replace(wish, name="café") == one.wish and wish.name in ("café", "cafe\u0301")
        is_person = actor.name == one.maker.name and (actor.verified or not one.maker.verified)
        was, size = one.world, self.world.size
        is_there = (was.oid, was.schema) == (self.world.oid, self.world.schema)
        is_size = was.size / 2 - 64 * 1024**2 <= size <= was.size * 2 + 64 * 1024**2
        needs = one.approvals or (self.demanded and wish.may_need_approval)
        return (
            token == one.token
            and not (one.used or one.declined)
            and self.now < one.ends_at
            and is_same
            and is_person
            and (one.approved or not needs)
            and is_there
            and is_size
        )


@pytest.fixture(autouse=True)
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-3")


@pytest.fixture
def catalog(aws: None) -> Iterator[Catalog]:
    with mock_aws():
        catalog = Catalog("catalog")
        create(catalog._table)
        yield catalog


@pytest.mark.parametrize("seed", range(2))
def test_nothing_is_overwritten_without_a_fresh_act_of_a_person(seed: int, catalog: Catalog) -> None:
    draws = random.Random(seed)
    allowed = 0

    for _ in range(SEQUENCES):
        empty_table("catalog", "eu-west-3")  # moto copies the whole table for every transaction
        game = Game(catalog, draws)
        game.plan()
        for _ in range(STEPS):
            step = draws.choices(
                [
                    game.plan,
                    game.apply,
                    game.race,
                    game.wait,
                    game.traffic,
                    game.change,
                    game.demand,
                    game.approve,
                    game.decline,
                ],
                weights=[2, 5, 1, 2, 1, 1, 0.5, 2, 1],
            )[0]
            step()
        # Each overwriting used up one plan of its own: its acts were planned, named and in time.
        assert game.overwritten == sum(one.used for one in game.planned) == game.acts
        allowed += game.overwritten

    assert allowed > SEQUENCES // 10, "the sequences do overwrite when they should"
