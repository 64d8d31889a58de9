"""``search-app why``: why a document is not found for a query, or no longer."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import InvalidInputError
from search_app.types import Mode

if TYPE_CHECKING:
    from search_app.why.inquiry import Answer, Inquiry
    from search_app.why.of_search import Outranked, Rival

SHOWN_RIVALS = 10


def why(
    query: Annotated[str, typer.Argument(help="The query, as it was asked.")],
    document: Annotated[
        str,
        typer.Argument(
            help="The document: its id or path, or a part of path or title; also a removed one."
        ),
    ],
    since: Annotated[
        str, typer.Option(help="Only searches and changes from that day on (UTC): 2026-01-31.")
    ] = "",
    collection: Annotated[str | None, typer.Option(help="The collection to look into.")] = None,
    k: Annotated[int, typer.Option("--k", help="How many hits count as found.")] = 10,
    *,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="As often as needed: language=ja, or: (type=pdf or folder=notes) and date>=2024.",
        ),
    ] = None,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, semantic or keyword; unset: UNMOVED_SEARCH_MODE."),
    ] = None,
    index: Annotated[
        str, typer.Option(help="Another index than the one that answers searches, by its id.")
    ] = "",
    code: Annotated[
        bool, typer.Option("--code", help="The query looks for source code, as in a search.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Say why a document is not found for a query, or no longer, and what to do."""
    from search_app.why.inquiry import Inquiry

    settings = load_settings()
    inquiry = Inquiry(
        query=query.strip(),
        document=document,
        collection=settings.collection if collection is None else collection,
        k=k,
        filters=filters or (),
        mode=mode_of(mode),
        since=day_of(since) if since else None,
        index=index or None,
        kind="code" if code else "query",
    )
    answer = wait_for(_inquire(settings, inquiry), settings)
    if as_json:
        from search_app.why.wording import as_json as answer_as_json

        print_json(answer_as_json(answer))
    else:
        _print(answer)


def mode_of(name: str | None) -> Mode | None:
    """Read a mode.

    Raises:
        InvalidInputError: there is none of that name.
    """
    match name:
        case None | "hybrid" | "semantic" | "keyword":
            return name
    raise InvalidInputError(f"mode {name[:40]!r} is not known; write hybrid, semantic or keyword")


def day_of(text: str) -> datetime:
    """Read a day as its beginning in UTC.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError as exc:
        raise InvalidInputError(f"--since {text[:30]!r} is no day; write 2026-01-31") from exc


async def _inquire(settings: Settings, inquiry: "Inquiry") -> "Answer":
    from search_app.bootstrap import open_services
    from search_app.why.inquiry import inquire

    async with open_services(settings, create=False) as services:
        return await inquire(services, inquiry)


def _print(answer: "Answer") -> None:
    from search_app.why.of_search import Outranked
    from search_app.why.of_vectors import Checked
    from search_app.why.wording import advice, sentence

    subject = answer.facts.subject
    typer.echo(printable(f"{subject.uri} ({subject.state})"))
    for finding in answer.findings:
        typer.echo(printable(f"- {sentence(finding)}"))
        typer.echo(printable(f"  {advice(finding)}"))
        if isinstance(finding, Checked):
            typer.echo(f"  its report: {finding.link}")
        if isinstance(finding, Outranked):
            typer.echo(f"  {_scores(finding)}")
            _print_rivals(finding.rivals)
    for notice in answer.notices:
        typer.echo(printable(f"note: {notice.reason}"))
    compared = answer.facts.compared
    if compared is not None:
        ranks = [] if subject.id is None else compared.ranks(subject.id, answer.facts.chunk_ids)
        found = f"found it at rank {min(ranks)}" if ranks else "did not find it"
        typer.echo(f"compared with the search of {compared.at:%Y-%m-%d %H:%M} UTC, which {found}")
    elif answer.facts.serving is not None:
        typer.echo("no search for this query is in the log, so nothing can be compared")


def _scores(finding: "Outranked") -> str:
    def told(score: float | None, rank: int | None) -> str:
        if score is None:
            return "none"
        return f"{score:.4f}" + (f" (rank {rank:,})" if rank else "")

    return (
        f"its best passage: by meaning {told(finding.dense, finding.dense_rank)}, "
        f"by words {told(finding.bm25, finding.bm25_rank)}"
    )


def _print_rivals(rivals: "Sequence[Rival]") -> None:
    for rival in rivals[:SHOWN_RIVALS]:
        place = rival.place
        mark = "" if rival.reason is None else f"  new: {_reason(rival)}"
        typer.echo(printable(f"    {place.rank:>3}  {place.score:.4f}  {place.uri}{mark}"))


def _reason(rival: "Rival") -> str:
    from search_app.why.of_search import Reason

    at = f" at {rival.at:%Y-%m-%d %H:%M} UTC" if rival.at else ""
    return {
        Reason.ADDED: f"added{at}",
        Reason.EDITED: f"edited{at}",
        Reason.INDEX: "by the other index",
        Reason.UNKNOWN: "why is not known",
        None: "",
    }[rival.reason]
