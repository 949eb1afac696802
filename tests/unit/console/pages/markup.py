"""Reads pages as a browser does, and notes what a page of the console must not have."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Final

_VOID: Final = {"meta", "link", "input", "img", "br", "hr"}


@dataclass
class Form:
    """One form: where it leads, and its fields with their values."""

    method: str
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class Markup(HTMLParser):
    """One page: its text, links, forms and commands, and in `faults` what is wrong with it."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.faults: list[str] = []
        self.text = ""
        self.links: list[str] = []
        self.files: list[str] = []
        self.forms: list[Form] = []
        self.commands: list[str] = []
        self.ids: list[str] = []
        self.languages: list[str] = []
        self._open: list[str] = []
        self._in_command = False
        self.feed(html)
        self.close()
        if self._open:
            self.faults.append(f"not closed: {self._open}")
        if len(set(self.ids)) != len(self.ids):
            self.faults.append(f"an id comes twice: {self.ids}")
        for form in self.forms:
            if form.method == "post" and not form.fields.get("csrf_token"):
                self.faults.append(f"no token in the form of {form.action}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag not in _VOID:
            self._open.append(tag)
        if wrong := [name for name in given if name.startswith("on") or name == "style"]:
            self.faults.append(f"<{tag}> has {wrong}")
        if tag == "style" or (tag == "script" and "/assets/" not in given.get("src", "")):
            self.faults.append(f"<{tag}> inside the page")
        if tag in ("link", "script", "img"):
            self.files.append(given.get("href") or given.get("src") or "")
        if tag == "form":
            self.forms.append(Form(given.get("method", "get"), given.get("action", "")))
        if tag in ("input", "button", "select", "textarea") and "name" in given and self.forms:
            self.forms[-1].fields[given["name"]] = given.get("value", "")
        if tag == "a":
            self.links.append(given["href"])
        if "id" in given:
            self.ids.append(given["id"])
        if "lang" in given:
            self.languages.append(given["lang"])
        self._in_command = "data-command" in given
        if self._in_command:
            self.commands.append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop() != tag:
            self.faults.append(f"</{tag}> closes something else")
        self._in_command = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self._in_command:
            self.commands[-1] += data
