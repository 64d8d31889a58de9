"""``search-app recommend`` and ``groups``: what is like examples, and what groups are about."""

from typing import TYPE_CHECKING, Annotated

import typer

from search_app.cli_hits import hit_json, print_result, result_json
from search_app.cli_why import mode_of
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.groups import AboutGroup, Group, Grouping, GroupRequest
    from search_app.likeness import Reason
    from search_app.retrieval import Recommendation, RecommendRequest

SHOWN_GROUPS = 50

_OF_QUERIES = ("search_id", "query", "unknown_words", "suggestion", "noise", "kind")
"""What results have that were asked with a query."""

Filters = Annotated[
    list[str] | None,
    typer.Option(
        "--filter",
        help="As often as needed: language=ja, or: (type=pdf or folder=notes) and date>=2024.",
    ),
]
Varied = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        help="Hits that differ: λ of maximal marginal relevance, 1 leaves all as it is.",
    ),
]
Index = Annotated[
    str, typer.Option(help="Another index than the one that answers searches, by its id.")
]


def recommend(
    like: Annotated[
        list[str] | None,
        typer.Argument(help="Examples: ids of passages, document:ID, or 'text:in your own words'."),
    ] = None,
    unlike: Annotated[
        list[str] | None,
        typer.Option(help="An example of what is not wanted, written likewise; often as needed."),
    ] = None,
    collection: Annotated[
        str | None, typer.Option(help="The collection; unset: that of the examples.")
    ] = None,
    *,
    k: Annotated[int, typer.Option("--k", help="How many hits.")] = 10,
    filters: Filters = None,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, semantic or keyword; unset: UNMOVED_SEARCH_MODE."),
    ] = None,
    index: Index = "",
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, missing none.")
    ] = False,
    mmr: Varied = None,
    per_document: Annotated[
        int | None, typer.Option(min=1, max=1000, help="Most passages of one document.")
    ] = None,
    other_documents: Annotated[
        bool, typer.Option("--other-documents", help="Nothing else of the examples' documents.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Find passages like some examples, and unlike others."""
    from search_app.likeness import read_example
    from search_app.retrieval import RecommendRequest

    settings = load_settings()
    request = RecommendRequest(
        like=[read_example(text) for text in like or ()],
        unlike=[read_example(text) for text in unlike or ()],
        collection=collection,
        otherwise=settings.collection,
        index=index or None,
        k=k,
        filters=filters or (),
        mode=mode_of(mode),
        exact=exact,
        mmr=mmr,
        per_document=per_document,
        other_documents=other_documents,
    )
    found = wait_for(_recommend(settings, request), settings)
    if as_json:
        print_json(_recommendation_json(found))
    else:
        reasons = {chunk_id: _why(reason) for chunk_id, reason in found.reasons.items()}
        several = len(found.seeds.like) + len(found.seeds.unlike) > 1
        print_result(found.result, reasons if several else None)


def groups(
    field: Annotated[
        str, typer.Argument(help="What groups share: folder, type, meta.author or another field.")
    ],
    value: Annotated[
        str, typer.Argument(help="One of them: show what is like it, and documents for it.")
    ] = "",
    collection: Annotated[str | None, typer.Option(help="The collection to look into.")] = None,
    *,
    describe: Annotated[
        str, typer.Option(help="What the group is about, where few or none of its passages say so.")
    ] = "",
    k: Annotated[int, typer.Option("--k", help="How many groups and documents.")] = 10,
    filters: Filters = None,
    own: Annotated[
        bool, typer.Option("--own", help="Recommend what the group has already, too.")
    ] = False,
    index: Index = "",
    exact: Annotated[
        bool, typer.Option("--exact", help="Compare with every vector, missing none.")
    ] = False,
    mmr: Varied = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the groups of a field with their mean vectors, or what is like one of them."""
    from search_app.groups import GroupRequest

    settings = load_settings()
    request = GroupRequest(
        field=field,
        value=value,
        collection=settings.collection if collection is None else collection,
        index=index or None,
        describe=describe,
        k=k,
        filters=filters or (),
        own=own,
        exact=exact,
        mmr=mmr,
    )
    if value:
        about = wait_for(_about(settings, request), settings)
        if as_json:
            print_json(_about_json(about))
        else:
            _print_about(about, value)
    else:
        found = wait_for(_groups(settings, request), settings)
        if as_json:
            print_json(_grouping_json(found))
        else:
            _print_groups(found)


async def _recommend(settings: Settings, request: "RecommendRequest") -> "Recommendation":
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await services.searcher.recommend(request)


async def _about(settings: Settings, request: "GroupRequest") -> "AboutGroup":
    from search_app.bootstrap import open_services
    from search_app.groups import Groups

    async with open_services(settings, create=False) as services:
        return await Groups(services).about(request)


async def _groups(settings: Settings, request: "GroupRequest") -> "Grouping":
    from search_app.bootstrap import open_services
    from search_app.groups import Groups

    async with open_services(settings, create=False) as services:
        return await Groups(services).of(request.collection, request.field, request.index)


def _recommendation_json(found: "Recommendation") -> JSON:
    shown = {
        name: value for name, value in result_json(found.result).items() if name not in _OF_QUERIES
    }
    shown["like"] = [str(seed.example) for seed in found.seeds.like]
    shown["unlike"] = [str(seed.example) for seed in found.seeds.unlike]
    reasons = {chunk_id: _reason_json(reason) for chunk_id, reason in found.reasons.items()}
    shown["hits"] = [
        {**hit_json(hit), "reason": reasons.get(hit.chunk_id)} for hit in found.result.hits
    ]
    return shown


def _reason_json(reason: "Reason") -> JSON:
    return {
        "like": str(reason.like),
        "cosine": reason.cosine,
        "unlike": str(reason.unlike) if reason.unlike else None,
        "unlike_cosine": reason.unlike_cosine,
    }


def _why(reason: "Reason") -> str:
    told = f"nearest example: {reason.like} ({reason.cosine:.3f})"
    if reason.unlike is not None and reason.unlike_cosine is not None:
        told += f" · against: {reason.unlike} ({reason.unlike_cosine:.3f})"
    return told


def _group_json(group: "Group") -> JSON:
    return {
        "value": group.value,
        "documents": group.documents,
        "passages": group.passages,
        "drawn": group.drawn,
        "length": group.length,
        "by_chance": group.by_chance,
    }


def _grouping_json(found: "Grouping") -> JSON:
    return {
        "field": found.field,
        "collection": found.target.collection.name,
        "index_id": str(found.target.index.id),
        "length": found.length,
        "pull": found.pull,
        "cut": found.cut,
        "all_alike": found.all_alike,
        "groups": [_group_json(group) for group in found.groups],
    }


def _about_json(about: "AboutGroup") -> JSON:
    from search_app.groups import told

    result = result_json(about.result)
    return {
        "field": about.grouping.field,
        "collection": about.grouping.target.collection.name,
        "group": None if about.group is None else _group_json(about.group),
        "basis": about.known.basis,
        "pull": about.known.pull,
        "share": about.known.share,
        "told": told(about.known),
        "similar": [{**_group_json(each.group), "cosine": each.cosine} for each in about.similar],
        **{name: value for name, value in result.items() if name not in _OF_QUERIES},
    }


def _print_groups(found: "Grouping") -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(found.field, overflow="fold")
    for column in ("documents", "passages", "length", "by chance"):
        table.add_column(column, justify="right")
    for group in found.groups[:SHOWN_GROUPS]:
        table.add_row(
            Text(printable(group.label)),
            f"{group.documents:,}",
            f"{group.passages:,}",
            f"{group.length:.3f}",
            f"{group.by_chance:.3f}",
        )
    console = Console(highlight=False)
    console.print(table)
    if len(found.groups) > SHOWN_GROUPS or found.cut:
        more = "more than " if found.cut else ""
        console.print(f"{more}{len(found.groups):,} groups; --json has those looked at")
    if found.all_alike:
        console.print("all vectors are the same: nothing tells one group from another")
    typer.echo(
        "length: how much a group's passages agree, 1 if all are the same; by chance: that of as "
        f"many passages drawn from everything, whose own is {found.length:.3f}"
    )


def _print_about(about: "AboutGroup", value: str) -> None:
    from search_app.groups import told

    typer.echo(f"{about.grouping.field} = {printable(value)}: {told(about.known)}")
    for each in about.similar:
        typer.echo(
            f"  {each.cosine:.3f}  {printable(each.group.label)} · {each.group.passages:,} passages"
        )
    typer.echo("")
    print_result(about.result)
