"""What goes wrong between two clicks: a backup that is gone, two tabs, the back button, a session that ends.

`TRAPS` says of every trap that consoles of backups fall into which test closes it; each of these tests has to exist.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError, ReadTimeoutError
from tests.console_client import Client, Reply, event_of
from tests.console_restores import ended, started
from tests.console_scene import NOW, ConsoleScene
from tests.console_web import Noting, ShortGate
from tests.unit.console.pages.conftest import PERSON
from tests.unit.console.pages.markup import Markup

from coffre.model.confirmation import token_id
from coffre.model.kinds import SafetyState
from coffre_console.access.sessions import IDLE
from coffre_console.app import App
from coffre_console.pages.site import Site

ACCESS, API, PAGES = "unit/console/access", "unit/console/api", "unit/console/pages"
TRAPS = {
    "success is shown while nothing happened": [
        "browser/test_browser.py::test_people_can_do_everything_with_and_without_javascript",
    ],
    "a script or style of a database's name runs": [
        f"{PAGES}/test_templates.py::test_a_template_runs_nothing_and_its_texts_exist",
        f"{PAGES}/test_pages.py::test_every_page_is_whole_in_both_languages_and_shows_hostile_names_harmlessly",
        "browser/test_browser.py::test_every_page_is_accessible_and_within_its_policy",
    ],
    "a download waits for the whole file": [
        f"{API}/test_downloads_api.py::test_the_address_of_a_finished_export_is_given_out_and_recorded",
    ],
    "a signed address ends before it says": [
        f"{API}/test_downloads_api.py::test_an_address_does_not_promise_more_than_its_credentials_live",
    ],
    "any client of a Cognito pool is let in": [
        f"{ACCESS}/test_tokens.py::test_an_access_token_of_cognito_is_of_this_client",
        f"{ACCESS}/test_machines.py::test_tokens_of_cognito_are_told_apart",
    ],
    "a token without a signature, or signed by something else": [
        f"{ACCESS}/test_tokens.py::test_a_token_without_a_signature_is_refused",
        f"{ACCESS}/test_tokens.py::test_a_token_that_is_signed_with_the_public_key_as_a_secret_is_refused",
        f"{ACCESS}/test_tokens.py::test_another_issuer_with_the_same_key_is_refused",
    ],
    "a route falls open": [f"{ACCESS}/test_permissions.py::test_a_route_without_an_entry_is_an_error"],
    "secrets in answers": [f"{API}/test_other_routes.py::test_no_answer_has_a_secret_of_the_configuration"],
    "keys can be probed": [
        f"{ACCESS}/test_machines.py::test_every_key_that_does_not_work_gets_the_same_answer",
        f"{ACCESS}/test_machines.py::test_a_key_sends_so_many_requests_a_minute",
    ],
    "a key works beyond its target": [
        f"{ACCESS}/test_permissions.py::test_a_key_may_what_one_of_its_scopes_names_for_a_target_that_it_names",
    ],
    "a plan is swapped between confirmation and run": [
        f"{API}/test_restores_api.py::test_a_token_confirms_what_it_was_given_for",
        "integration/restore_database/test_confirmation.py::test_a_database_that_changed_after_the_plan_is_not_touched",
    ],
    "a plan of somebody else, twice, too late, by the back button, in another tab": [
        f"{API}/test_restores_api.py::test_a_token_that_was_used_or_has_expired_confirms_nothing",
        f"{PAGES}/test_traps.py::test_tokens_confirm_once_whatever_the_tab_and_the_back_button",
    ],
    "a restore destroys before its source is checked": [
        "integration/restore_database/test_restore_errors.py::test_a_damaged_list_of_entries_is_noticed",
        "integration/restore_database/test_salvage_rows.py::test_where_every_table_is_damaged_there_is_no_restore",
    ],
    "names of other scripts break headers": [
        f"{API}/test_downloads_api.py::test_a_file_has_its_name_in_every_script",
    ],
    "times without their zone": [f"{PAGES}/test_traps.py::test_the_hour_that_comes_twice_in_autumn_is_two_times"],
    "history makes lists slow": ["unit/console/reading/test_backups.py::test_pages_are_the_list_and_each_is_one_call"],
    "a damaged record hides others": [
        f"{PAGES}/test_damaged_records.py::test_a_damaged_record_is_named_above_the_others"
    ],
    "a stage or a mapping breaks links": [
        f"{PAGES}/test_pages.py::test_below_a_stage_every_address_has_its_prefix",
        f"{ACCESS}/test_login.py::test_the_console_works_below_a_prefix",
    ],
    "a sign-in that somebody else began; a session that is given; one that outlives its end": [
        f"{ACCESS}/test_login.py::test_a_callback_without_its_cookie_is_refused_and_asks_the_issuer_nothing",
        f"{ACCESS}/test_login.py::test_a_new_sign_in_has_a_new_session_and_ends_the_old_one",
        f"{ACCESS}/test_login.py::test_signing_out_ends_the_session_here_and_at_the_issuer",
    ],
    "a backup that is deleted while its page is open": [
        f"{PAGES}/test_traps.py::test_a_backup_that_is_deleted_while_its_page_is_open_is_neither_changed_nor_restored",
    ],
    "a catalog or a function that does not answer": [
        f"{PAGES}/test_pages.py::test_what_does_not_answer_and_what_has_changed_meanwhile_is_said",
        f"{PAGES}/test_traps.py::test_a_function_that_does_not_answer_loses_nothing_that_was_chosen",
    ],
    "a session that ends in the middle of the wizard": [
        f"{PAGES}/test_traps.py::test_a_session_that_ends_in_the_middle_leads_back_to_the_same_step",
        f"{PAGES}/test_pages.py::test_a_session_that_is_over_loses_nothing_that_was_entered",
    ],
}
TESTS = Path(__file__).parents[3]
CHOSEN = {"what": "replace", "tables": "orders"}
DRY = "01M80T0000000000000000000A"


def back_of(reply: Reply) -> str:
    """Return where the page of an error, or of a sign-in, leads back to."""
    page = Markup(reply.body)
    assert page.faults == []
    signing_in = [one for one in page.links if one.startswith("/login")]
    return signing_in[0] if signing_in else page.links[-3]  # before the dashboard and the language


def test_every_trap_has_its_test() -> None:
    for test in (one for tests in TRAPS.values() for one in tests):
        file, _, name = test.partition("::")
        assert f"\ndef {name}(" in (TESTS / file).read_text(), test


def test_a_backup_that_is_deleted_while_its_page_is_open_is_neither_changed_nor_restored(
    scene: ConsoleScene, client: Client
) -> None:
    backup = scene.backup(5)
    pages = [f"/backups/{backup.id}/{act}" for act in ("restore", "pin", "hold", "drill", "verify", "delete")]
    assert [client.get(page).status for page in pages] == [200] * 6
    scene.catalog.keeping.delete(backup, "by ben", scene.now)

    forms = {"restore": {"step": "dry_run", **CHOSEN}, "drill": {}, "verify": {}}
    for act, fields in forms.items():
        reply = client.submit(f"/backups/{backup.id}/{act}", **fields, csrf_token="f")
        assert reply.status == 409, (act, reply.body)
        assert "Nothing was changed" in Markup(reply.body).text
    assert client.functions.invoked == []
    shown = Markup(client.get(f"/backups/{backup.id}").body)
    assert not [link for link in shown.links if link in pages]
    assert "by ben" in shown.text


@pytest.mark.parametrize("failure", ["late", "dead"])
def test_a_function_that_does_not_answer_loses_nothing_that_was_chosen(
    scene: ConsoleScene, client: Client, failure: str
) -> None:
    backup = scene.backup(5)
    trial = started(scene, backup, DRY)
    ended(scene, backup, trial, SafetyState.PRESENT)
    url = f"/backups/{backup.id}/restore"

    def invoke(**asked: object) -> None:
        place = {"endpoint_url": "https://lambda.example.com"}
        raise ReadTimeoutError(**place) if failure == "late" else EndpointConnectionError(**place)

    client.functions.invoke = invoke  # type: ignore[assignment, method-assign]
    for step, more in (("dry_run", {}), ("confirm", {"dry_run_id": DRY, "name": "shop"})):
        reply = client.submit(url, **CHOSEN, **more, step=step, csrf_token="f")
        assert (reply.status, reply.headers["retry-after"]) == (503, "30"), reply.body
        again = client.get(back_of(reply))
        assert again.status == 200
        assert "orders" in again.body


def test_tokens_confirm_once_whatever_the_tab_and_the_back_button(scene: ConsoleScene, client: Client) -> None:
    """Two tabs plan the same restore, one of them begins it; then "back" and the button again."""
    backup = scene.backup(5)
    plan = ended(scene, backup, started(scene, backup, DRY), SafetyState.PRESENT)
    issue, minutes = scene.catalog.confirmations.issue, timedelta(minutes=10)
    tokens = [issue(plan, PERSON.actor, NOW, lifetime=minutes, approvals=0)[0] for _ in range(2)]
    url = f"/backups/{backup.id}/restore"
    run = {**CHOSEN, "step": "run", "name": "shop", "csrf_token": "f"}

    begun = client.submit(url, **run, token=tokens[0])
    issued = scene.catalog.confirmations.find(token_id(tokens[0]))
    assert issued is not None
    assert scene.catalog.confirmations.take(issued, NOW)  # as the function `restore` does when it begins
    again = client.submit(url, **run, token=tokens[0])
    other_choice = client.submit(url, **{**run, "tables": "customers"}, token=tokens[1])
    other_act = client.submit(f"/backups/{backup.id}/delete", step="run", name="shop", token=tokens[1], csrf_token="f")
    scene.now += minutes
    late = client.submit(url, **run, token=tokens[1])

    assert begun.status == 303
    for refused, code in ((again, "INVALID"), (other_choice, "MISMATCH"), (late, "INVALID")):
        assert (refused.status, f"CONFIRMATION_{code}" in refused.body) == (409, True), refused.body
        assert tokens[0] not in refused.body
        assert tokens[1] not in refused.body
    assert len([1 for name, _, event in client.functions.invoked if name == "coffre-restore"]) == 1
    # Whether a token is one of a deletion is for the function that deletes: it gets it, and decides.
    assert (other_act.status, client.functions.invoked[-1][0]) == (303, "coffre-rotate")


def test_a_session_that_ends_in_the_middle_leads_back_to_the_same_step(scene: ConsoleScene) -> None:
    """It ends while the form is open; then a sign-in in another tab makes the form's token that of another session."""
    backup = scene.backup(5)
    ended(scene, backup, started(scene, backup, DRY), SafetyState.PRESENT)
    scene.document["console"] = {
        "issuer": "https://l.example.com",
        "client_id": "c",
        "roles": [{"group": "dba", "role": "admin"}],
    }
    client = Client(scene)
    gate = ShortGate(scene.catalog, Noting(), lambda: scene.configuration, lambda name: "")
    client.app = App.make(client.console, gate, Site(), now=lambda: scene.now)

    def tab(cookie: str) -> Callable[..., Reply]:
        return lambda method, url, body=None: client.send(
            method,
            url,
            body,
            {
                "cookie": cookie,
                "sec-fetch-site": "same-origin",
                "content-type": "application/x-www-form-urlencoded",
            },
        )

    def sign_in() -> Callable[..., Reply]:
        answer = client.app.handle(event_of("GET", "/login"))
        return tab(answer["cookies"][0].partition(";")[0])

    url = f"/backups/{backup.id}/restore"
    ask = sign_in()
    plan = f"{url}?what=replace&tables=orders&dry_run_id={DRY}"
    form = next(one for one in Markup(ask("GET", plan).body).forms if one.fields.get("step") == "confirm")
    body = "&".join(f"{name}={value}" for name, value in {**form.fields, "name": "shop"}.items())
    scene.now += IDLE
    over = ask("POST", url, body)
    assert (over.status, "SESSION_OVER" in over.body or "over" in Markup(over.body).text) == (401, True)
    place = back_of(over)
    assert "csrf" not in place
    assert "dry_run_id%3D" in place

    again = sign_in()
    old_form = again("POST", url, body)
    assert (old_form.status, "CROSS_SITE" in old_form.body) == (403, True)
    fresh = again("GET", back_of(old_form))
    assert fresh.status == 200
    found = next(one for one in Markup(fresh.body).forms if one.fields.get("step") == "confirm")
    assert found.fields["csrf_token"] not in ("", form.fields["csrf_token"])
    assert {**found.fields, "csrf_token": "", "name": ""} == {**form.fields, "csrf_token": "", "name": ""}
    assert client.functions.invoked == []


def test_who_was_not_let_in_begins_the_sign_in_again(client: Client) -> None:
    """The code of a sign-in is in the query of /callback, and works once."""
    reply = client.get("/callback?code=secret&state=x")

    assert (reply.status, back_of(reply)) == (400, "/")
    assert "secret" not in reply.body


def test_the_hour_that_comes_twice_in_autumn_is_two_times(scene: ConsoleScene, client: Client) -> None:
    """Both are half past two in Paris: the page has them in UTC, and the browser adds its zone."""
    scene.now = datetime(2026, 10, 25, 9, tzinfo=UTC)
    for hours in (8.5, 7.5):
        scene.begin(hours)

    body = client.get("/backups").body

    assert 'datetime="2026-10-25T00:30:00Z"' in body
    assert 'datetime="2026-10-25T01:30:00Z"' in body
    assert "2026-10-25 00:30 UTC" in body
