"""Templates and texts: nothing in them turns escaping off or runs in a page, and no text is missing."""

import re
import shutil
import string
import subprocess
import sys
from pathlib import Path

import pytest
from jinja2 import Environment, ModuleLoader
from tests.console_client import ADDRESS, event_of

from coffre.model.drill import Outcome
from coffre.model.kinds import Status, TargetKind
from coffre.model.report import Period
from coffre.model.status import Standing
from coffre.model.tier import Tier
from coffre.operations.browse.diff import Change
from coffre_console import pages
from coffre_console import templates as compiling
from coffre_console.access.request import Request
from coffre_console.pages.acts import ACTS
from coffre_console.pages.restore_choice import MODES, WHATS
from coffre_console.pages.show import NAVIGATION, environment
from coffre_console.pages.texts import Words, texts, words_of

TEMPLATES = sorted((Path(pages.__file__).parent / "templates").iterdir())
REFUSED = re.compile(r"\|\s*safe|Markup|autoescape|\bon[a-z]+=|\bstyle=|<style|javascript:|https?://|src=\"data:")


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda one: one.name)
def test_a_template_runs_nothing_and_its_texts_exist(template: Path) -> None:
    text = template.read_text()
    assert not REFUSED.findall(text)
    for form in re.findall(r'<form[^>]*method="post".*?</form>', text, re.DOTALL):
        assert "{{ token_field }}" in form
    for key in re.findall(r"'#?([a-z_]+\.(?!svg|css|js)[a-z_]+)'", text):
        assert key in texts(), key
    for key in re.findall(r"t\.counted\([^)]*'([a-z_]+)'\)", text):
        assert {f"{key}.one", f"{key}.many"} <= texts().keys()


def test_the_build_compiles_what_a_page_would_and_pages_use_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As the layer's Makefile does it, where nothing but Jinja can be imported.
    program = Path(shutil.copy(compiling.__file__, tmp_path))
    shutil.copytree(TEMPLATES[0].parent, tmp_path / "pages" / "templates")
    layers = Path(compiling.__file__).parents[2]
    assert '-P "$(PACKAGES)/coffre_console/templates.py"' in (layers / "console" / "Makefile").read_text()
    subprocess.run([sys.executable, "-P", program], env={}, check=True)
    compiled = tmp_path / "compiled"
    assert len(list(compiled.iterdir())) == len(TEMPLATES)
    pins = [(layers / one).read_text() for one in ("console/templates.txt", "coffre/requirements.txt")]
    for pin in re.findall(r"^\S+==\S+", pins[0], re.MULTILINE):
        assert pin in pins[1]

    made = environment.__wrapped__()
    assert set(compiling.FILTERS) < made.filters.keys()
    for template in TEMPLATES:
        built = compiled / ModuleLoader.get_module_filename(template.name)
        code = made.compile(template.read_text(), template.name, raw=True, defer_init=True)
        assert built.read_text() == code, template.name

    monkeypatch.setattr(compiling, "COMPILED", compiled)
    values = {"t": Words("fr"), "place": "", "person": None, "form_token": "", "links": (), "command": ""}
    known = {**values, "path": "/", "here": "/", "prefix": "", "token_field": "x"}
    pages_of = [environment.__wrapped__(), made]
    assert isinstance(pages_of[0].loader, ModuleLoader)
    shown = [_shown(one, "signed_out", known) for one in pages_of]
    assert shown[0] == shown[1]


def _shown(made: Environment, name: str, known: dict[str, object]) -> str:
    macros = vars(made.get_template("parts.html.jinja").make_module(known))
    return made.get_template(f"{name}.html.jinja").render({**macros, **known})


def test_both_languages_have_the_same_values_in_a_text_and_every_text_is_used() -> None:
    for key, (english, french) in texts().items():
        assert _values(english) == _values(french), key
    assert not [key for key, (_, text) in texts().items() if re.search(r"(?<![\u202f\u00a0 ])[?!;:](?: |$)", text)]
    source = " ".join(path.read_text() for path in (*TEMPLATES, *Path(pages.__file__).parent.glob("*.py")))
    used = {key for key in texts() if re.search(rf"['\"#]{re.escape(key)}['\"]", source)}
    used |= {
        key
        for key in texts()
        if any(f"{quote}{key[: at + 1]}{quote}" in source for quote in "'\"" for at in _dots(key))
    }
    used |= {f"{noun}.{number}" for noun in ("tables", "rows", "objects") for number in ("one", "many")}
    assert set(texts()) - used == set()


def test_every_value_that_a_page_can_show_has_its_word() -> None:
    enums = {"state": Status, "kind": TargetKind, "tier": Tier, "standing": Standing, "diff": Change}
    shown = {f"{family}.{value.value}" for family, one in enums.items() for value in one}
    shown = {key.lower() if key.startswith("state.") else key for key in shown}
    shown |= {f"state.{standing.value}" for standing in Standing} | {f"state.drill_{one.value}" for one in Outcome}
    shown |= {f"state.{severity}" for severity in ("critical", "warning", "info")}
    shown |= {f"{family}.{name}" for name in ACTS for family in ("act", "about", "done")}
    shown |= {f"period.{one.value}" for one in Period} | {f"nav.{link.name}" for link in NAVIGATION}
    shown |= {f"what.{one}" for one in WHATS} | {f"mode.{one}" for one in MODES}
    assert shown <= texts().keys()


def _dots(key: str) -> list[int]:
    return [at for at, letter in enumerate(key) if letter == "."]


def _values(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


@pytest.mark.parametrize(
    ("header", "cookie", "language"),
    [
        ("", "", "en"),
        ("de", "", "en"),
        ("fr-CA,en;q=0.8", "", "fr"),
        ("de, en;q=0.4, fr;q=0.5", "", "fr"),
        ("fr;q=0", "", "en"),
        ("fr;q=x,,;q=1", "", "en"),
        ("fr", "en", "en"),
        ("en", "fr", "fr"),
        ("fr", "../etc", "fr"),
    ],
)
def test_the_readers_language(header: str, cookie: str, language: str) -> None:
    event = event_of("GET", "/", headers={"accept-language": header})
    event["cookies"] = [f"__Host-language={cookie}"] if cookie else []
    assert words_of(Request.of_event(event, base=ADDRESS)).language == language


def test_numbers_as_the_readers_of_a_language_write_them() -> None:
    english, french = Words("en"), Words("fr")
    assert (english.size(1_530_000), french.size(1_530_000)) == ("1.5 MB", "1,5 Mo")
    assert (english.number(12345), french.number(12345)) == ("12,345", "12\u202f345")
    assert (english.span(90_000), french.span(90_000)) == ("1 day 1 h", "1 jour 1 h")
    assert (english.counted(0, "rows"), french.counted(0, "rows")) == ("0 rows", "0 ligne")
    assert (english.ago(3), french.ago(172_800)) == ("just now", "il y a 2 jours")
