"""A browser without a screen: it keeps cookies, follows redirects, and says where a request comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urljoin, urlsplit

import urllib3

from coffre_console.access.csrf import TOKEN_HEADER
from coffre_console.access.sessions import form_token


@dataclass(frozen=True)
class Page:
    """One answer, and the address that it is of."""

    status: int
    url: str
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Browser:
    """Visits servers of this machine, whatever name below `localhost` they have."""

    cookies: dict[tuple[str, str], str] = field(default_factory=dict)
    _pool: urllib3.PoolManager = field(default_factory=lambda: urllib3.PoolManager(retries=False, timeout=60))

    def close(self) -> None:
        self._pool.clear()

    def sign_in(self, console: str, user: str) -> Page:
        """Sign a test user of the local identity provider in; the answer is the page to which that leads."""
        choice = self.get(f"{console}/login")
        assert re.search(rf'name="user" value="{user}"', choice.body.decode()), choice.body
        return self.send("POST", choice.url, form={"user": user})

    def get(self, url: str) -> Page:
        return self.send("GET", url)

    def send(self, method: str, url: str, *, body: object = None, form: Mapping[str, str] | None = None) -> Page:
        """Send a request; redirects lead to a GET."""
        place = urlsplit(url)
        headers = {"host": place.netloc, "sec-fetch-site": "same-origin", "origin": f"{place.scheme}://{place.netloc}"}
        sent = {name: value for (host, name), value in self.cookies.items() if host == place.hostname}
        if sent:
            headers["cookie"] = "; ".join(f"{name}={value}" for name, value in sent.items())
        if token := sent.get("__Host-session"):
            headers[TOKEN_HEADER] = form_token(token)
        content: dict[str, Any] = {} if form is None else {"fields": form, "encode_multipart": False}
        if body is not None:
            content, headers["content-type"] = {"body": json.dumps(body)}, "application/json"
        here = place._replace(netloc=f"127.0.0.1:{place.port}").geturl()
        answer = self._pool.request(method, here, headers=headers, redirect=False, **content)
        self._keep(place.hostname or "", answer.headers.getlist("set-cookie"))
        if "location" in answer.headers and answer.status in (302, 303):
            return self.get(urljoin(url, answer.headers["location"]))
        return Page(answer.status, url, answer.headers, answer.data)

    def _keep(self, host: str, cookies: list[str]) -> None:
        for cookie in cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[host, name] = value
            if "max-age=0" in cookie.lower():
                del self.cookies[host, name]
