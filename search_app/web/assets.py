"""Static files, under addresses that change with their content and may be kept for a year."""

import os
from hashlib import sha256
from pathlib import Path

from starlette.datastructures import QueryParams
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

DIRECTORY = Path(__file__).parent / "static"
OF_REPORTS = Path(__file__).parent.parent / "reports" / "static"
_FOREVER = "public, max-age=31536000, immutable"


class Assets(StaticFiles):
    """The package's static files; ``address`` names them, with the hash of their content."""

    def __init__(self) -> None:
        """Hash the files once; they do not change while the program runs."""
        super().__init__(directory=DIRECTORY, packages=[("search_app.reports", "static")])
        self._versions = {
            path.name: sha256(path.read_bytes()).hexdigest()[:16]
            for path in (*DIRECTORY.iterdir(), *OF_REPORTS.iterdir())
            if path.is_file()
        }

    def address(self, name: str) -> str:
        """Give the address of a file.

        Raises:
            KeyError: there is no such file; templates are wrong then.
        """
        return f"/static/{name}?v={self._versions[name]}"

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Answer with the file; kept for ever only where the version asked for is this one."""
        response = await super().get_response(path, scope)
        version = QueryParams(scope["query_string"]).get("v")
        current = self._versions.get(os.path.basename(path))  # noqa: PTH119 - an address, not a path
        kept = version is not None and version == current
        response.headers["Cache-Control"] = _FOREVER if kept else "no-cache"
        return response
