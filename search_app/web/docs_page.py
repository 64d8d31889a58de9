"""The page that explains the API, made from its OpenAPI description; it loads nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Request, Response

from search_app.types import JSON
from search_app.web.examples import DETAILS
from search_app.web.problems import Kind
from search_app.web.rendering import render

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One method of one address, as the page shows it; bodies are indented JSON."""

    method: str
    path: str
    summary: str
    parameters: Sequence[JSON]
    body: str | None
    fields: Sequence[tuple[str, JSON]]
    answer: str
    failures: Sequence[Kind]


@router.api_route("/docs", methods=["GET", "HEAD"])
async def docs_page(request: Request) -> Response:
    """Explain the API."""
    description = request.app.openapi()
    return render(
        request,
        "docs.html",
        endpoints=_endpoints(description),
        kinds=[(kind, DETAILS[kind.slug]) for kind in Kind],
    )


def _endpoints(description: JSON) -> list[Endpoint]:
    schemas = description["components"]["schemas"]
    return [
        _endpoint(method, path, operation, schemas)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


def _endpoint(method: str, path: str, operation: JSON, schemas: JSON) -> Endpoint:
    body = _schema(operation.get("requestBody"), schemas)
    answer = _schema(operation["responses"]["200"], schemas)
    return Endpoint(
        method=method.upper(),
        path=path,
        summary=operation["description"],
        parameters=operation.get("parameters", []),
        body=_indented(body["example"]) if body else None,
        fields=list(body["properties"].items()) if body else [],
        answer=_indented(answer["example"]) if answer else "",
        failures=[kind for kind in Kind if _lists(operation["responses"], kind)],
    )


def _schema(content: JSON, schemas: JSON) -> Any:
    if content is None:
        return None
    name = content["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return schemas[name]


def _lists(responses: JSON, kind: Kind) -> bool:
    content = responses.get(str(kind.status), {}).get("content", {})
    return any(kind.slug in shape.get("examples", {}) for shape in content.values())


def _indented(value: JSON) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
