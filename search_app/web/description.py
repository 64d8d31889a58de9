"""The OpenAPI description, with failures under the media type that they have."""

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from search_app.types import JSON
from search_app.web.problems import MEDIA_TYPE


def body_fields(operation: JSON, shapes: JSON) -> dict[str, JSON]:
    """Give the fields of what an operation takes, be it JSON or files; none where it has no body.

    ``shapes`` are the description's schemas by their names.
    """
    for content in operation.get("requestBody", {}).get("content", {}).values():
        schema = content["schema"]
        if "$ref" in schema:
            schema = shapes[schema["$ref"].rpartition("/")[2]]
        return dict(schema["properties"])
    return {}


def describe(app: FastAPI) -> JSON:
    """Describe the API; FastAPI alone puts the schema of every answer under application/json."""
    described = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes
    )
    described["components"]["securitySchemes"] = {
        "key": {
            "type": "http",
            "scheme": "bearer",
            "description": "A key of search-app keys create; needed once there is one.",
        }
    }
    # Either nothing, while a server has no keys, or a key.
    described["security"] = [{}, {"key": []}]
    for methods in described["paths"].values():
        for method, operation in methods.items():
            for response in operation["responses"].values():
                content = response["content"]
                if MEDIA_TYPE in content:
                    content[MEDIA_TYPE] |= content.pop("application/json")
            if method == "get":
                operation["responses"] |= {"304": _NOT_MODIFIED}
    return described


_NOT_MODIFIED = {
    "description": "Nothing has changed since the answer whose ETag was sent as If-None-Match"
}
