"""What a request needs to be let in, for every route: a route that is not named here is shut.

A test walks all routes of the application and fails where one is missing.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache

from starlette.routing import compile_path

from search_app.access.principal import EVERYBODY, Principal, acting
from search_app.access.scopes import Scope

READ, INGEST, ADMIN = Scope.READ, Scope.INGEST, Scope.ADMIN


@dataclass(frozen=True, kw_only=True)
class Need:
    """What is needed: any of ``scopes``, none where anybody is let in.

    ``everywhere``: a key for all collections, as what is asked is not of one. ``action`` names a
    change, which goes into the log of changes.
    """

    scopes: frozenset[Scope] = frozenset()
    everywhere: bool = False
    action: str = ""

    @property
    def open(self) -> bool:
        """Whether anybody is let in."""
        return not self.scopes


OPEN = Need()
SHUT = Need(scopes=frozenset({ADMIN}), everywhere=True)
_ANY_KEY = Need(scopes=frozenset(Scope))
_READ = Need(scopes=frozenset({READ}))
_READ_ALL = Need(scopes=frozenset({READ}), everywhere=True)
_FOLLOW = Need(scopes=frozenset({READ, INGEST}))


def _ingest(action: str) -> Need:
    return Need(scopes=frozenset({INGEST}), action=action)


def _admin(action: str = "") -> Need:
    return Need(scopes=frozenset({ADMIN}), action=action)


def _keys(action: str = "") -> Need:
    # Whoever is limited to some collections could otherwise make a key for all.
    return Need(scopes=frozenset({ADMIN}), everywhere=True, action=action)


API = "/api/v1"

UNSIGNED = ("/static/", "/healthz", "/readyz")
"""Where nobody is asked who they are: the catalog need not even answer."""

NEEDS: Mapping[str, Need] = {
    "GET /openapi.json": _ANY_KEY,
    "GET /docs": _ANY_KEY,
    "GET /static": OPEN,
    "GET /healthz": OPEN,
    "GET /readyz": OPEN,
    "GET /metrics": _READ_ALL,
    "GET /login": OPEN,
    "POST /login": OPEN,
    "POST /logout": OPEN,
    "POST /theme": OPEN,
    "POST /language": OPEN,
    # Searching and looking.
    "GET /": _READ,
    f"POST {API}/search": _READ,
    "GET /explore": _ANY_KEY,
    "GET /ask": _READ,
    "POST /ask": _READ,
    "GET /answers": _READ,
    "GET /answers/{answer_id}": _READ,
    f"POST {API}/ask": _READ,
    f"POST {API}/ask/compare": _READ,
    f"GET {API}/answers": _READ,
    f"GET {API}/answers/{{answer_id}}": _READ,
    f"GET {API}/answers/{{answer_id}}/compare": _READ,
    f"GET {API}/facets": _READ,
    f"GET {API}/suggest": _READ,
    "POST /feedback": _READ,
    f"POST {API}/feedback": _READ,
    "GET /recommend": _READ,
    f"POST {API}/recommendations": _READ,
    "GET /groups": _READ,
    f"GET {API}/groups": _READ,
    f"GET {API}/groups/recommendations": _READ,
    "GET /similar/chunks/{chunk_id}": _READ,
    "GET /similar/documents/{document_id}": _READ,
    f"GET {API}/chunks/{{chunk_id}}/similar": _READ,
    f"GET {API}/documents/{{document_id}}/similar": _READ,
    "GET /why": _READ,
    f"GET {API}/why": _READ,
    "GET /compare": _READ,
    f"GET {API}/compare": _READ,
    "GET /documents/{document_id}": _READ,
    f"GET {API}/documents/{{document_id}}": _READ,
    "GET /chunks/{chunk_id}/provenance": _READ,
    "POST /chunks/{chunk_id}/provenance": _READ,
    f"GET {API}/chunks/{{chunk_id}}/provenance": _READ,
    f"POST {API}/chunks/{{chunk_id}}/verify": _READ,
    "GET /collections": _READ,
    "GET /collections/{address}": _READ,
    "GET /collections/{address}/documents": _READ,
    f"GET {API}/collections": _READ,
    f"GET {API}/collections/{{collection}}": _READ,
    f"GET {API}/collections/{{collection}}/documents": _READ,
    f"GET {API}/collections/{{collection}}/indexes": _READ,
    f"GET {API}/collections/{{collection}}/export": Need(
        scopes=frozenset({READ}), action="export vectors"
    ),
    "GET /runs": _READ,
    "GET /runs/diff": _READ,
    "GET /runs/{run_id}": _READ,
    f"GET {API}/runs": _READ,
    f"GET {API}/runs/diff": _READ,
    f"GET {API}/runs/{{run_id}}": _READ,
    "GET /models": _READ,
    "GET /models/{model_id}": _READ,
    f"GET {API}/models": _READ,
    f"GET {API}/models/{{model_id}}": _READ,
    "GET /checks": _READ,
    "GET /checks/{check}": _READ,
    f"GET {API}/checks": _READ,
    f"GET {API}/checks/{{check}}": _READ,
    f"GET {API}/checks/{{check}}/report.html": _READ,
    "GET /clusters": _READ,
    "GET /clusters/{analysis}": _READ,
    "GET /map": _READ,
    "GET /map/table": _READ,
    "GET /outliers": _READ,
    "GET /diversity": _READ,
    "GET /labels": _READ,
    "GET /labels/{analysis}": _READ,
    f"GET {API}/analyses": _READ,
    f"GET {API}/analyses/{{analysis}}": _READ,
    f"GET {API}/analyses/{{analysis}}/members": _READ,
    f"GET {API}/maps/{{map_id}}/groups": _READ,
    f"GET {API}/maps/{{map_id}}/points": _READ,
    f"GET {API}/maps/{{map_id}}/points.bin": _READ,
    f"GET {API}/maps/{{map_id}}/points/{{chunk_id}}": _READ,
    f"GET {API}/maps/{{map_id}}/query": _READ,
    f"POST {API}/maps/{{map_id}}/selection": _READ,
    f"GET {API}/suggestions": _READ,
    "GET /exclusions": _READ,
    f"GET {API}/exclusions": _READ,
    f"GET {API}/query-vectors": _READ_ALL,
    f"GET {API}/document-vectors": _READ_ALL,
    f"GET {API}/prices": _READ,
    # Documents, and the work on them.
    "GET /failures": _FOLLOW,
    f"GET {API}/failures": _FOLLOW,
    "GET /jobs": _FOLLOW,
    "GET /jobs/{job_id}": _FOLLOW,
    f"GET {API}/jobs": _FOLLOW,
    f"GET {API}/jobs/{{job}}": _FOLLOW,
    f"GET {API}/schedules": _FOLLOW,
    "POST /upload": _ingest("upload"),
    f"POST {API}/collections/{{collection}}/documents": _ingest("upload"),
    f"POST {API}/collections/{{collection}}/ingest": _ingest("ingest"),
    "POST /collections/{address}/addresses": _ingest("ingest"),
    "POST /collections/{address}/documents": _ingest("change documents"),
    f"POST {API}/collections/{{collection}}/remove": _ingest("remove documents"),
    "POST /exclusions": _ingest("change exclusions"),
    f"POST {API}/exclusions": _ingest("exclude"),
    f"DELETE {API}/exclusions": _ingest("include"),
    "POST /collections/{address}/retry": _ingest("retry failures"),
    f"POST {API}/collections/{{collection}}/retry": _ingest("retry failures"),
    f"POST {API}/collections/{{collection}}/schedules": _ingest("schedule"),
    f"DELETE {API}/schedules/{{schedule}}": _ingest("remove schedule"),
    "POST /collections/{address}/schedules/{schedule}/remove": _ingest("remove schedule"),
    "POST /jobs/{job_id}/cancel": _ingest("cancel job"),
    f"POST {API}/jobs/{{job}}/cancel": _ingest("cancel job"),
    "POST /jobs/{job_id}/retry": _ingest("retry job"),
    f"POST {API}/jobs/{{job}}/retry": _ingest("retry job"),
    # Everything else.
    "GET /collections/{address}/remove": _admin(),
    "POST /collections/{address}/remove": _admin("delete collection"),
    f"DELETE {API}/collections/{{collection}}": _admin("delete collection"),
    "POST /collections/{address}/reindex": _admin("reindex"),
    f"POST {API}/collections/{{collection}}/reindex": _admin("reindex"),
    "POST /collections/{address}/rollback": _admin("roll back"),
    f"POST {API}/collections/{{collection}}/rollback": _admin("roll back"),
    "POST /indexes/{index}/activate": _admin("activate index"),
    f"POST {API}/indexes/{{index}}/activate": _admin("activate index"),
    "POST /indexes/{index}/retire": _admin("retire index"),
    f"POST {API}/indexes/{{index}}/retire": _admin("retire index"),
    "POST /checks": _admin("ask for check"),
    f"POST {API}/checks": _admin("ask for check"),
    "POST /clusters": _admin("analyse"),
    "POST /map": _admin("analyse"),
    "POST /outliers": _admin("analyse"),
    "POST /diversity": _admin("analyse"),
    "POST /labels": _admin("analyse"),
    f"POST {API}/analyses": _admin("analyse"),
    "GET /checks/{check}/accept": _admin(),
    "POST /checks/{check}/accept": _admin("accept check"),
    f"POST {API}/checks/{{check}}/accept": _admin("accept check"),
    f"DELETE {API}/query-vectors": _keys("forget query vectors"),
    f"DELETE {API}/document-vectors": _keys("forget document vectors"),
    "GET /access": _keys(),
    "POST /access": _keys("create key"),
    "POST /access/{key}/rotate": _keys("rotate key"),
    "POST /access/{key}/revoke": _keys("revoke key"),
    "GET /access/changes": _keys(),
    f"GET {API}/keys": _keys(),
    f"POST {API}/keys": _keys("create key"),
    f"POST {API}/keys/{{key}}/rotate": _keys("rotate key"),
    f"DELETE {API}/keys/{{key}}": _keys("revoke key"),
    f"GET {API}/changes": _keys(),
}
"""For each method and address what it needs; HEAD needs what GET does."""


def need_of(method: str, path: str) -> Need:
    """Give what a request needs; what is not named is shut."""
    wanted = "GET" if method == "HEAD" else method
    for pattern, need in _patterns(wanted):
        if pattern.fullmatch(path):
            return need
    return SHUT


def missing(principal: Principal, need: Need) -> str | None:
    """Word what somebody lacks for a request; None where they may make it."""
    if need.open:
        return None
    if not principal.may(*need.scopes):
        wanted = " or ".join(sorted(need.scopes))
        has = ", ".join(sorted(principal.scopes))
        return f"this needs a key with scope {wanted}; the one used has {has}"
    if need.everywhere and not principal.everywhere:
        return "this needs a key for all collections; the one used is for some"
    return None


def may(method: str, path: str) -> bool:
    """Say whether whoever asks now may make a request; pages show its button only then.

    ``path`` is an address, with its query or without.
    """
    need = need_of(method, re.split("[?#]", path, maxsplit=1)[0])
    return missing(acting() or EVERYBODY, need) is None


def scopes_for(method: str, path: str) -> list[str]:
    """Name the scopes of which a key needs one for a request."""
    return sorted(need_of(method, path).scopes)


def is_unsigned(path: str) -> bool:
    """Say whether nobody is asked there who they are."""
    return path.startswith(UNSIGNED)


@lru_cache
def _patterns(method: str) -> list[tuple[re.Pattern[str], Need]]:
    return list(_compiled(method))


def _compiled(method: str) -> Iterator[tuple[re.Pattern[str], Need]]:
    for named, need in NEEDS.items():
        of, _, path = named.partition(" ")
        if of == method:
            yield compile_path(path)[0], need
