"""How a failure is answered: a page for browsers, a problem for programs, the rest in the log."""

import structlog
from starlette.requests import Request
from starlette.responses import Response

from search_app.web.check_sign import look
from search_app.web.problems import Kind, Problem, problem_of
from search_app.web.rendering import render

_FOR_PROGRAMS = ("/api/", "/healthz", "/readyz", "/openapi.json", "/static/", "/mcp")

log = structlog.get_logger()


async def answer(request: Request, error: Exception) -> Response:
    """Answer a request that failed; what no user can mend goes to the log with its traceback."""
    problem = problem_of(error)
    if problem.kind is Kind.INTERNAL:
        log.error("request failed", path=request.url.path, exc_info=error)
    if wants_page(request) and problem.kind is not Kind.UNKNOWN_HOST:
        await look(request)
    return respond(request, problem)


def respond(request: Request, problem: Problem) -> Response:
    """Tell a problem in the form that the client reads."""
    if not wants_page(request):
        return problem.response(request.url.path)
    return render(
        request,
        "problem.html",
        status=problem.kind.status,
        headers=problem.all_headers(),
        problem=problem,
    )


def wants_page(request: Request) -> bool:
    """Say whether a person looks at the answer."""
    path = request.url.path
    return "text/html" in request.headers.get("accept", "") and not path.startswith(_FOR_PROGRAMS)
