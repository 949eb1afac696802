"""Requests to the played AWS, sooner: what moto and botocore find out for each of them is found out once.

The request that moto's methods get, and what they answer, are the same as by moto's own way.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from copy import deepcopy
from datetime import datetime
from functools import cache, lru_cache
from io import BytesIO
from typing import Any, Final
from urllib.parse import ParseResult, unquote, urlparse

import botocore.awsrequest
import botocore.utils
import moto.backends
import moto.core.models
import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSPreparedRequest, HeadersDict
from moto.backend_index import backend_url_patterns
from moto.core.base_backend import BackendDict
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.config import default_user_config
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.request import (
    PRESERVED_HEADER_NAMES_ENVIRON_KEY,
    Request,
    environ_key_for_header,
    should_preserve_original_header_name,
)
from moto.moto_api import recorder
from werkzeug.exceptions import HTTPException

type Method = Callable[[Request, str, Any], Any]

# Says which service it is: no path belongs to these addresses, and `amazonaws` is in no path.
_HOST: Final = re.compile(r"https://[a-z0-9.-]+\.amazonaws\.com")
_SIGNED: Final = (SigV4Auth, S3SigV4Auth)
_AS_USUAL: Final = deepcopy(default_user_config)
_BUILT: Final = {"content-length", "content-type", "transfer-encoding"}
_add_auth = vars(SigV4Auth)["add_auth"]
_from_primitives = vars(Request)["from_primitives"].__func__
_raw_url = vars(Request)["raw_url"].fget
_key_of = lru_cache(maxsize=10_000)(vars(botocore.awsrequest)["_HeaderKey"])
"""A name of a header in small letters; botocore looks for those of sixty members in an answer that has ten."""
_parse_time = vars(botocore.utils)["_parse_timestamp_with_tzinfo"]
_time_of = lru_cache(maxsize=1000)(_parse_time)
_process_request = vars(BotocoreStubber)["process_request"]


def take_short_ways(patch: pytest.MonkeyPatch) -> None:
    """Compute no signatures, look once whose an address is, and make requests without a builder."""
    patch.setattr(SigV4Auth, "add_auth", _sign)
    patch.setattr(Request, "from_primitives", classmethod(_request))
    patch.setattr(Request, "raw_url", property(_raw_url_once))
    patch.setattr(HeadersDict, "__contains__", lambda headers, name: _key_of(name) in headers._dict)
    patch.setattr(HeadersDict, "__getitem__", lambda headers, name: headers._dict[_key_of(name)])
    patch.setattr(botocore.utils, "_parse_timestamp_with_tzinfo", _time)
    patch.setattr(BotocoreStubber, "process_request", processed)


def _sign(signer: Any, request: Any) -> None:
    """Say whose key signs what; moto does not look at the signature itself."""
    is_played = vars(moto.core.models)["botocore_stubber"].enabled and _HOST.match(request.url)
    if signer.credentials is None or type(signer) not in _SIGNED or not is_played:
        _add_auth(signer, request)
        return
    request.context["timestamp"] = "20261129T120000Z"
    signer._modify_request_before_signing(request)
    signer._inject_signature_to_request(request, "0" * 64)


def _raw_url_once(request: Request) -> str:
    held: dict[str, Any] = vars(request)
    if "once" not in held:
        held["once"] = _raw_url(request)
    url: str = held["once"]
    return url


def _time(value: Any, zone: Any) -> datetime:
    """Read a time once: the played AWS gives whole seconds, so that many answers have the same one."""
    found: datetime = (_time_of if isinstance(value, str) else _parse_time)(value, zone)
    return found


def processed(stubber: BotocoreStubber, request: AWSPreparedRequest) -> Any:
    """Answer a request by the method that moto has for its address."""
    url: ParseResult = urlparse(request.url)
    method = _method(f"{url.scheme}://{url.netloc}", url.path) if default_user_config == _AS_USUAL else None
    if method is None:
        return _process_request(stubber, request)
    sent = Request.from_primitives(request.method, request.url, request.headers, request.body)
    try:
        recorder._record_request(sent)
        return method(sent, sent.raw_url, sent.headers)
    except HTTPException as error:
        return error.code, error.get_headers(), error.get_body()


def _method(address: str, path: str) -> Method | None:
    if "MOTO_S3_CUSTOM_ENDPOINTS" in os.environ or "amazonaws" in path or not _HOST.fullmatch(address):
        return None
    return next((method for pattern, method in _methods(address) if pattern.match(address + path)), None)


@cache
def _methods(address: str) -> tuple[tuple[re.Pattern[str], Method], ...]:
    """Return the methods of the first service with this address, by patterns of whole addresses."""
    service: Any = next((name for name, pattern in backend_url_patterns if pattern.match(f"{address}/")), None)
    backends: Any = service and moto.backends.get_backend(service)
    if not isinstance(backends, BackendDict):
        return ()
    regions = backends[DEFAULT_ACCOUNT_ID]
    backend = regions["us-east-1" if "us-east-1" in regions else "aws"]
    return tuple((re.compile(url), method) for url, method in backend.urls.items())


def _request(kind: type[Request], method: str, url: str, headers: Mapping[str, Any], body: Any = None) -> Request:
    """Make a request with the environment that werkzeug makes for it; what is out of the ordinary is left to that."""
    fields = [(name, value.decode() if isinstance(value, bytes) else value) for name, value in headers.items()]
    parts = urlparse(url)
    is_text = url.isascii() and url.isprintable() and " " not in url and all(map(_is_line, fields))
    if not is_text or not isinstance(body, str | bytes | None) or not re.match("/(?!/)", parts.path):
        made: Request = _from_primitives(kind, method, url, headers, body)
        return made
    return kind(_environment(method, parts, fields, body.encode() if isinstance(body, str) else body or b""))


def _is_line(field: tuple[str, Any]) -> bool:
    return isinstance(field[1], str) and field[1].isprintable() and not field[1].startswith("multipart")


def _environment(method: str, url: ParseResult, fields: Iterable[tuple[str, str]], body: bytes) -> dict[str, Any]:
    host, _, port = url.netloc.partition(":")
    made: dict[str, Any] = {
        "REQUEST_METHOD": method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote(url.path).encode().decode("latin1"),
        "QUERY_STRING": url.query,
        "REQUEST_URI": url.path,
        "RAW_URI": url.path,
        "SERVER_NAME": host,
        "SERVER_PORT": port or ("443" if url.scheme == "https" else "80"),
        "HTTP_HOST": url.netloc,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": url.scheme,
        "wsgi.input": BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    by_name = {name.lower(): value for name, value in fields}
    if "content-type" in by_name:
        made["CONTENT_TYPE"] = by_name["content-type"]
    if body or by_name.get("content-type", "").partition(";")[0] == "application/x-www-form-urlencoded":
        made["CONTENT_LENGTH"] = str(len(body))
    sent = [(environ_key_for_header(name), name, value) for name, value in fields if name.lower() not in _BUILT]
    combined: dict[str, list[str]] = {}
    for key, _, value in sent:
        combined.setdefault(key, []).append(value)
    made.update((key, ", ".join(values)) for key, values in combined.items())
    made[PRESERVED_HEADER_NAMES_ENVIRON_KEY] = {
        key: name for key, name, _ in sent if should_preserve_original_header_name(name)
    }
    made.setdefault("CONTENT_LENGTH", "0")
    return made
