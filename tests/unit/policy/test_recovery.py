"""Decisions of a recovery: which copy, which backups, how long, what is next."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from coffre.model.backup import Backup, Status, Tier
from coffre.model.kinds import TargetKind
from coffre.model.recovery import Recovery, Step, StepKind, StepState
from coffre.policy.recovery import (
    CopyLook,
    Found,
    choose_copy,
    estimated,
    has_exceptions,
    in_order,
    is_complete,
    next_step,
    of_same_points,
    seconds_until_usable,
    sentence_of,
    taken_up,
    usable,
    with_step,
)

NOON = datetime(2026, 11, 17, 12, tzinfo=UTC)


def backup(number: int, *, hours: float = 0, damage: str | None = None, tier: Tier = Tier.DAILY) -> Backup:
    at = NOON + timedelta(hours=hours)
    return Backup(
        id=f"01K9X{number:021d}",
        target="shop",
        tiers=(tier,),
        status=Status.COMPLETED,
        created_at=at,
        completed_at=at,
        plaintext_bytes=80_000_000,
        damaged_at=at if damage else None,
        damage=damage,
    )


def copy(address: str, *, drilled: bool = False, **hours: float) -> CopyLook:
    """Return a copy with a backup of each target that is named, taken at these hours."""
    found = {name: Found(backup(1, hours=hour), proven_at=NOON if drilled else None) for name, hour in hours.items()}
    return CopyLook(address, found)


def step(name: str, kind: StepKind, target: str, state: StepState = StepState.WAITING, **more: object) -> Step:
    return Step.model_validate({"name": name, "kind": kind, "target": target, "state": state, **more})


def recovery(*steps: Step, **more: object) -> Recovery:
    document = {"id": "1", "coffre_version": "1", "began_at": NOON, "copy_address": "copy", "steps": steps}
    return Recovery.model_validate({**document, **more})


# --- Which backup ---


def test_the_newest_good_backup_is_used_and_newer_ones_are_explained() -> None:
    backups = [
        backup(1, hours=-48),
        backup(2, hours=-24),
        backup(3, hours=-2, damage="a pack is lost"),
        backup(4, hours=-1),
        backup(5, tier=Tier.SAFETY),
    ]

    chosen, passed_over = usable(backups, lambda one: "2 packs are missing." if one.id.endswith("4") else None, None)

    assert chosen == backups[1]
    assert [one.split(" was passed over: ")[1] for one in passed_over] == [
        "2 packs are missing.",
        "it is damaged: a pack is lost",
    ]


def test_a_point_in_time_leaves_out_what_is_younger() -> None:
    backups = [backup(1, hours=-48), backup(2, hours=-24), backup(3)]

    assert usable(backups, lambda _: None, NOON - timedelta(hours=20))[0] == backups[1]
    assert usable(backups, lambda _: None, NOON - timedelta(hours=24))[0] == backups[1]
    assert usable(backups, lambda _: None, NOON - timedelta(hours=50)) == (None, ())


def test_objects_are_of_the_restore_point_of_the_database() -> None:
    def of_point(number: int, kind: TargetKind, point: str | None, hours: float) -> Backup:
        return backup(number, hours=hours).model_copy(update={"kind": kind, "point": point})

    database = of_point(1, TargetKind.DATABASE, "P1", -5)
    newest, same, broken = (
        of_point(2, TargetKind.BUCKET, None, -1),
        of_point(3, TargetKind.BUCKET, "P1", -4),
        of_point(4, TargetKind.BUCKET, "P1", -3),
    )
    found = {"shop": Found(database), "files": Found(newest), "other": Found(newest)}
    backups = {"shop": [database], "files": [newest, broken, same], "other": [newest]}

    aligned = of_same_points(found, backups, lambda one: "torn" if one is broken else None)

    assert aligned["shop"] == found["shop"]
    assert aligned["files"].backup == same
    assert "of the same restore point as the database" in aligned["files"].passed_over[0]
    assert aligned["other"] == found["other"]
    # A database without a point decides nothing
    alone = {**found, "shop": Found(database.model_copy(update={"point": None}))}
    assert of_same_points(alone, backups, lambda _: None) == alone


# --- Which copy ---


def test_more_targets_come_before_newer_backups_and_those_before_drills() -> None:
    whole, newer, drilled = copy("whole", shop=-48, files=-48), copy("newer", shop=0), copy("drilled", shop=-1)

    choice = choose_copy([newer, whole])
    assert choice is not None
    assert (choice.look, choice.why) == (whole, "It has usable backups of the most targets.")
    assert choice.others == ("newer has no usable backup of files.",)

    choice = choose_copy([drilled, newer])
    assert choice is not None
    assert (choice.look, choice.why) == (newer, "Its backups are the newest.")
    assert choice.others == ("drilled answers; its newest backup of shop is 1 h older.",)

    choice = choose_copy([copy("plain", shop=0), copy("proven", shop=0, drilled=True)])
    assert choice is not None
    assert (choice.look.address, choice.why) == ("proven", "Drills have proven more of its backups.")
    assert choice.others == ("plain answers too, and its backups are as new.",)


def test_of_equal_copies_the_first_is_used() -> None:
    choice = choose_copy([copy("vault", shop=0), copy("offsite", shop=0)])

    assert choice is not None
    assert (choice.look.address, choice.why) == ("vault", "It is as good as the others, and comes first.")


def test_a_copy_that_does_not_answer_is_no_choice() -> None:
    gone = CopyLook("vault", error="The bucket does not exist. [BUCKET_MISSING]")

    choice = choose_copy([gone, copy("offsite", shop=0)])

    assert choice is not None
    assert (choice.look.address, choice.why) == ("offsite", "It is the only copy with a backup that can be restored.")
    assert choice.others == ("vault cannot be used: The bucket does not exist. [BUCKET_MISSING]",)
    assert choose_copy([gone, CopyLook("empty")]) is None


# --- How long ---


def test_a_drill_says_how_long_it_takes_and_more_for_a_larger_backup() -> None:
    drilled = Found(backup(1), drill_seconds=100, drill_bytes=40_000_000)

    assert estimated(StepKind.DATABASE, drilled) == (200, "by the last drill")
    assert estimated(StepKind.DATABASE, Found(backup(1)))[0] == 10
    assert estimated(StepKind.DATABASE, Found(backup(1)))[1] == "by its size"


def test_many_small_objects_take_their_time() -> None:
    objects = backup(1).model_copy(update={"objects": 6000, "plaintext_bytes": 6000})

    assert estimated(StepKind.BUCKET, Found(objects))[0] > 100


# --- What is next ---

DATABASE = step("restore shop", StepKind.DATABASE, "shop")
FILES = step("restore files", StepKind.BUCKET, "files")
CHECK = step("check shop", StepKind.CHECKS, "shop")
NOTIFY = step("notify", StepKind.NOTIFY, "")


def test_settings_come_first_then_databases_then_objects_then_checks() -> None:
    settings = step("restore env", StepKind.SETTINGS, "env")

    assert in_order([NOTIFY, CHECK, FILES, DATABASE, settings]) == (settings, DATABASE, FILES, CHECK, NOTIFY)


def test_a_failed_step_stops_only_what_needs_it() -> None:
    failed = DATABASE.model_copy(update={"state": StepState.FAILED, "problem": "no route"})
    going = recovery(failed, FILES, CHECK, NOTIFY)

    assert next_step(going) == FILES
    going = with_step(going, FILES.model_copy(update={"state": StepState.DONE}))
    assert next_step(going) == NOTIFY  # the checks have no database to ask
    going = with_step(going, NOTIFY.model_copy(update={"state": StepState.DONE}))
    assert next_step(going) is None
    assert not is_complete(going)
    assert "Not done: restore shop, check shop." in sentence_of(going)


def test_a_run_that_takes_over_does_what_was_cut_off_and_what_failed_and_reports_again() -> None:
    done = FILES.model_copy(update={"state": StepState.DONE})
    cut = DATABASE.model_copy(update={"state": StepState.RUNNING, "attempts": 1})
    told = NOTIFY.model_copy(update={"state": StepState.DONE})
    failed = CHECK.model_copy(update={"state": StepState.FAILED, "problem": "wrong"})

    again = taken_up(recovery(cut, done, failed, told))

    assert [one.state for one in again.steps] == [
        StepState.WAITING,
        StepState.DONE,
        StepState.WAITING,
        StepState.WAITING,
    ]
    assert again.steps[0].attempts == 1
    assert again.steps[2].problem is None
    assert again.resumed == 1


def test_how_it_ended_in_a_sentence() -> None:
    done = DATABASE.model_copy(update={"state": StepState.DONE})
    ended = {"ended_at": NOON + timedelta(minutes=20)}

    assert sentence_of(recovery(done, **ended)) == "The recovery ended after 20 min. Everything is restored."
    late = recovery(done, **ended, limit_seconds=600.0, is_rehearsal=True)
    assert late.is_late
    assert sentence_of(late).endswith("The limit is 10 min: it took too long.")
    assert sentence_of(late).startswith("The rehearsal ended")
    odd = recovery(done.model_copy(update={"exceptions": ("x",)}), **ended)
    assert has_exceptions(odd)
    assert "with exceptions" in sentence_of(odd)
    unsent = NOTIFY.model_copy(update={"state": StepState.FAILED, "problem": "no network"})
    assert is_complete(recovery(done, unsent))


def test_a_target_is_usable_when_its_last_step_ended_and_all_of_them_went_well() -> None:
    def ended(one: Step, minutes: float, state: StepState = StepState.DONE) -> Step:
        return one.model_copy(update={"state": state, "ended_at": NOON + timedelta(minutes=minutes)})

    good = recovery(ended(DATABASE, 10), ended(FILES, 12), ended(CHECK, 13))
    assert seconds_until_usable(good) == {"shop": 780.0, "files": 720.0}
    wrong = recovery(ended(DATABASE, 10), ended(FILES, 12), ended(CHECK, 13, StepState.FAILED))
    assert seconds_until_usable(wrong) == {"files": 720.0}


def test_nothing_is_replaced_before_its_backup_exists() -> None:
    safety = step("back up the destination of shop", StepKind.SAFETY, "shop", replaces=True)
    database = DATABASE.model_copy(update={"replaces": True})
    failed = safety.model_copy(update={"state": StepState.FAILED})
    done = safety.model_copy(update={"state": StepState.DONE})

    assert in_order([FILES, database, safety])[0] == safety
    assert next_step(recovery(failed, database, FILES)) == FILES
    assert next_step(recovery(failed, database)) is None
    assert next_step(recovery(done, database)) == database
