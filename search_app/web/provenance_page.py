"""The page of a vector: where it comes from, and, at a button, whether it would come so again."""

from fastapi import APIRouter, Request, Response

from search_app.errors import UnmovedError
from search_app.provenance import provenance_of, verify
from search_app.web.deps import ServicesDep, page_id
from search_app.web.forms import PostedFormDep
from search_app.web.hits import document_lang
from search_app.web.problems import problem_of
from search_app.web.rendering import render

router = APIRouter(include_in_schema=False)


@router.api_route("/chunks/{chunk_id}/provenance", methods=["GET", "HEAD"])
async def provenance_page(
    request: Request, services: ServicesDep, chunk_id: str, index: str = ""
) -> Response:
    """Show where the vector of a passage comes from."""
    found = await provenance_of(services, page_id(chunk_id, "passage"), index=index or None)
    return render(
        request,
        "provenance.html",
        found=found,
        named=index,
        checked=None,
        problem=None,
        lang=document_lang(found.passage.document.language),
    )


@router.post("/chunks/{chunk_id}/provenance")
async def verify_now(
    request: Request, services: ServicesDep, chunk_id: str, form: PostedFormDep
) -> Response:
    """Embed the passage again, and say beside its record how near that came."""
    index = form.text("index")
    found = await provenance_of(services, page_id(chunk_id, "passage"), index=index or None)
    checked, problem = None, None
    try:
        checked = await verify(services, found)
    except UnmovedError as exc:
        problem = problem_of(exc)
    return render(
        request,
        "provenance.html",
        status=problem.kind.status if problem else 200,
        headers=problem.all_headers() if problem else {},
        found=found,
        named=index,
        checked=checked,
        problem=problem,
        lang=document_lang(found.passage.document.language),
    )
