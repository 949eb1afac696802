"""The API's routes: their fields and answers are checked and described by annotations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from types import UnionType
from typing import Any, Final, get_args, get_origin, get_type_hints

from aws_lambda_powertools.event_handler import APIGatewayHttpResolver
from aws_lambda_powertools.event_handler import Response as Answer
from aws_lambda_powertools.event_handler.exceptions import NotFoundError
from aws_lambda_powertools.event_handler.middlewares import NextMiddleware
from aws_lambda_powertools.event_handler.openapi.exceptions import (
    RequestUnsupportedContentType,
    RequestValidationError,
)
from pydantic import BaseModel

from coffre_console.access.permissions import needed_for
from coffre_console.access.request import Request
from coffre_console.problems import NOT_FOUND, Problem, ProblemError, WrongField, of_wrong_fields
from coffre_console.routing import Routes, Visit

_DOCUMENTED: Final = (400, 401, 403, 404, 409, 415, 422, 429, 500, 503)


class ApiRoutes:
    """Registers handlers. They ask for `visit`, and what they return is checked against their annotations."""

    def __init__(self, routes: Routes) -> None:
        self.resolver = APIGatewayHttpResolver(enable_validation=True)
        self.resolver.exception_handler(Exception)(self._keep)
        self._routes = routes

    @property
    def visit(self) -> Visit:
        """The request that is answered now."""
        visit: Visit = self.resolver.context["visit"]
        return visit

    def add[F: Callable[..., Any]](
        self,
        method: str,
        path: str,
        *,
        summary: str = "",
        tag: str = "",
        status: HTTPStatus = HTTPStatus.OK,
        also: Mapping[int, type[BaseModel]] | None = None,
        kind: str = "application/json",
    ) -> Callable[[F], F]:
        """Register a handler.

        Parameters
        ----------
        path
            As in the table of permissions: `/api/v1/backups/<backup_id>`.
        status
            Of the answer when all is well.
        also
            Further answers of the handler, by status.
        kind
            The content type of the answer when all is well.

        Raises
        ------
        RouteUnknownError
            The table of permissions has no entry.
        """
        needed = needed_for(method, path)
        self._routes.add(method, path, self._answer)

        def register(handler: F) -> F:
            documented = {
                code: _documented("application/problem+json", HTTPStatus(code), Problem) for code in _DOCUMENTED
            }
            documented |= {
                code: _documented("application/json", HTTPStatus(code), model) for code, model in (also or {}).items()
            }
            documented[int(status)] = _documented(kind, status, _returned(handler, tuple((also or {}).values())))
            decorate = self.resolver.route(
                path,
                method=method,
                summary=summary or None,
                description=f"Needs the permission `{needed}`." if needed else "Open.",
                tags=[tag] if tag else None,
                status_code=int(status),
                responses=documented,
                middlewares=[self._checked],
            )
            return decorate(handler)

        return register

    def _answer(self, visit: Visit, _: Mapping[str, str]) -> dict[str, Any]:
        errors: list[Exception] = []
        self.resolver.context |= {"visit": visit, "errors": errors}
        answer = self.resolver.resolve(_at(visit.request), None)  # type: ignore[arg-type]  # no handler asks for it
        if errors:
            raise _problem_of(errors[0])
        return answer

    def _keep(self, error: Exception) -> Answer[Any]:
        """Keep an error for `_answer`: the resolver would log each with a traceback, or describe it in its own way."""
        self.resolver.context["errors"].append(error)
        return Answer(500)

    def _checked(self, app: Any, next_middleware: NextMiddleware) -> Answer[Any]:
        self._refuse_unknown_fields()
        return next_middleware(app)

    def _refuse_unknown_fields(self) -> None:
        """Refuse a field of the query that the route does not have: a filter that is misspelt shows everything."""
        route = self.resolver.context["_route"]
        known = {param.alias for param in route.dependant.query_params}
        wrong = tuple(
            WrongField(where=f"query.{name}", what="this field is not known")
            for name in self.visit.request.query
            if name not in known
        )
        if wrong:
            raise ProblemError(
                422,
                "REQUEST_INVALID",
                "The request has fields that this route does not know.",
                f"Known fields: {', '.join(sorted(known)) or 'none'}.",
                errors=wrong,
            )


def _problem_of(error: Exception) -> Exception:
    """Return the answer for an error of the resolver's own; another error is what a route raised."""
    if isinstance(error, RequestUnsupportedContentType):
        return ProblemError(415, "MEDIA_TYPE", "The body has to be JSON.", "Send content-type: application/json.")
    if isinstance(error, RequestValidationError):
        return of_wrong_fields(error.errors())
    return NOT_FOUND if isinstance(error, NotFoundError) else error


def _at(request: Request) -> dict[str, Any]:
    """Return an event with the path below the console's address, whatever stage or mapping led to it."""
    outer = request.event["requestContext"]
    inner = {**outer, "stage": "$default", "http": {**outer["http"], "path": request.path}}
    return {**request.event, "rawPath": request.path, "requestContext": inner}


def _returned(handler: Callable[..., Any], others: tuple[type, ...]) -> Any:
    """Return what a handler's body is when all is well, by its annotation; `others` are documented already."""
    returned = get_type_hints(handler)["return"]
    if get_origin(returned) is Answer:
        [returned] = get_args(returned)
    kept = [one for one in get_args(returned) if one not in others] if isinstance(returned, UnionType) else [returned]
    [found] = kept
    return found


def _documented(kind: str, status: HTTPStatus, model: Any) -> Any:
    return {"description": status.phrase, "content": {kind: {"model": model}}}
