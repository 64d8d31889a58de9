"""The page that explains the API, made from its OpenAPI description; it loads nothing else."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from search_app.types import JSON
from search_app.web.description import body_fields
from search_app.web.examples import DETAILS
from search_app.web.problems import Kind
from search_app.web.rendering import render
from search_app.web.schemas import Model

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
    shapes = description["components"]["schemas"]
    return [
        _endpoint(method, path, operation, shapes)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]


def _endpoint(method: str, path: str, operation: JSON, shapes: JSON) -> Endpoint:
    body = _shape(operation.get("requestBody"))
    # 200, 201 or 202; all others are problems.
    succeeded = operation["responses"][min(operation["responses"])]
    answer = _shape(succeeded)
    return Endpoint(
        method=method.upper(),
        path=path,
        summary=operation["description"],
        parameters=operation.get("parameters", []),
        body=_example(body) if body else None,
        fields=list(body_fields(operation, shapes).items()),
        answer=_example(answer) if answer else _text(succeeded),
        failures=[kind for kind in Kind if _lists(operation["responses"], kind)],
    )


def _shape(content: JSON) -> str | None:
    """Name the schema of a body that is JSON."""
    as_json = (content or {}).get("content", {}).get("application/json")
    return None if as_json is None else str(as_json["schema"]["$ref"].rpartition("/")[2])


def _text(content: JSON) -> str:
    """Give the example of a body that is not JSON."""
    return next((str(shape.get("example", "")) for shape in content["content"].values()), "")


def _lists(responses: JSON, kind: Kind) -> bool:
    content = responses.get(str(kind.status), {}).get("content", {})
    return any(kind.slug in shape.get("examples", {}) for shape in content.values())


def _example(shape: str) -> str:
    # From the class, since the description sorts the keys of its examples.
    extra = _models()[shape].model_config["json_schema_extra"]
    return json.dumps(extra["example"], ensure_ascii=False, indent=2)


def _models() -> dict[str, JSON]:
    """Give every model of the API by its name, whichever module has it."""
    found, left = {}, [Model]
    while left:
        model = left.pop()
        found[model.__name__] = model
        left += model.__subclasses__()
    return found
