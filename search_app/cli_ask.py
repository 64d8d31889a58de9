"""``search-app ask`` and ``search-app answers``: questions, and what was answered."""

from contextlib import aclosing
from typing import TYPE_CHECKING, Annotated

import typer

from search_app.cli_why import mode_of
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import InvalidInputError

if TYPE_CHECKING:
    from search_app.answering.stability import Place, Stability
    from search_app.answering.types import Answer, Event, Question, Sentence
    from search_app.bootstrap import Services
    from search_app.catalog.answers import ListedAnswer

answers = typer.Typer(
    help="Answers that were given, and what can write them.", no_args_is_help=True
)

SHOWN_PASSAGE = 160
"""Characters of a passage that a terminal shows."""

SHOWN_PLACE = 100


def ask(
    question: Annotated[str, typer.Argument(help="What you want to know, in your own words.")],
    collection: Annotated[str | None, typer.Option(help="The collection to ask.")] = None,
    filters: Annotated[
        list[str] | None,
        typer.Option(
            "--filter",
            help="As often as needed: language=ja, or: (type=pdf or folder=notes) and date>=2024.",
        ),
    ] = None,
    *,
    mode: Annotated[
        str | None,
        typer.Option(help="hybrid, semantic or keyword; unset: UNMOVED_SEARCH_MODE."),
    ] = None,
    index: Annotated[
        str, typer.Option(help="Another kept index that shall answer: its id, or its beginning.")
    ] = "",
    passages: Annotated[int, typer.Option(help="Most passages that the answer is made of.")] = 8,
    generator: Annotated[
        str,
        typer.Option(
            help="What writes the answer: extractive or chat:MODEL; unset: UNMOVED_GENERATOR."
        ),
    ] = "",
    after: Annotated[str, typer.Option(help="Id of an answer that this question follows up.")] = "",
    compare: Annotated[
        str,
        typer.Option(help="Id of another index: does its answer cite the same places?"),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Answer a question from the documents, each sentence with its sources."""
    from search_app.answering.types import Question

    settings = load_settings()
    asked = Question(
        text=question,
        collection=settings.collection if collection is None else collection,
        index=index or None,
        filters=filters or (),
        mode=mode_of(mode),
        passages=passages,
        generator=generator or None,
        client="command",
    )
    if compare:
        if after:
            raise InvalidInputError("--after and --compare do not go together")
        _show_stability(wait_for(_compare(settings, asked, compare), settings), as_json=as_json)
        return
    answer = wait_for(_ask(settings, asked, after, quiet=as_json), settings)
    if as_json:
        print_json(answer_json(answer))
    else:
        _print_end(answer)


@answers.command("list")
def list_answers(
    collection: Annotated[
        str | None, typer.Option(help="Only answers from that collection.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many.")] = 20,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List the answers that are kept, newest first."""
    settings = load_settings()
    found = wait_for(_list(settings, collection, limit), settings)
    if as_json:
        print_json({"answers": [{**vars(each), "id": str(each.id)} for each in found]})
        return
    for each in found:
        typer.echo(
            printable(
                f"{str(each.id)[:8]}  {each.created_at:%Y-%m-%d %H:%M}  {each.collection}  "
                f"{each.outcome}  {each.question}"
            )
        )


@answers.command()
def show(
    answer: Annotated[str, typer.Argument(help="Its id, or the beginning of it.")],
    *,
    compare: Annotated[
        bool, typer.Option("--compare", help="Ask again: are the same places cited?")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show an answer exactly as it was given."""
    settings = load_settings()
    if compare:
        _show_stability(wait_for(_again(settings, answer), settings), as_json=as_json)
        return
    found = wait_for(_show(settings, answer), settings)
    if as_json:
        print_json(answer_json(found))
        return
    typer.echo(printable(found.question))
    for sentence in found.sentences:
        _print_sentence(sentence)
    typer.echo("")
    _print_end(found)


@answers.command()
def models(
    *, as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False
) -> None:
    """List the models at UNMOVED_CHAT_BASE_URL that can be named in chat:MODEL."""
    settings = load_settings()
    found = wait_for(_models(settings), settings)
    if as_json:
        print_json({"models": found})
        return
    for name in found:
        typer.echo(printable(f"chat:{name}"))


async def _ask(settings: Settings, question: "Question", after: str, *, quiet: bool) -> "Answer":
    from search_app.answering.types import Done
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        if after:
            question = await _following(services, question, after)
        async with aclosing(services.answerer.ask(question)) as events:
            async for event in events:
                if isinstance(event, Done):
                    return event.answer
                if not quiet:
                    _print_event(event)
    raise AssertionError("the last event is the answer")


async def _following(services: "Services", question: "Question", after: str) -> "Question":
    from dataclasses import replace

    from search_app.answering.keeping import from_kept
    from search_app.answering.types import Turn
    from search_app.catalog import answers as kept
    from search_app.catalog.engine import reading

    async with reading(services.engine) as connection:
        before = from_kept(await kept.find(connection, after))
    turn = Turn(question=before.question, answer=before.text)
    return replace(question, conversation=(*before.conversation, turn))


async def _compare(settings: Settings, question: "Question", index: str) -> "Stability":
    from search_app.answering.stability import compare_indexes
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await compare_indexes(services.answerer, question, index)


async def _again(settings: Settings, beginning: str) -> "Stability":
    from search_app.answering.keeping import from_kept
    from search_app.answering.stability import compare_with_now
    from search_app.bootstrap import open_services
    from search_app.catalog import answers as kept
    from search_app.catalog.engine import reading

    async with open_services(settings, create=False) as services:
        async with reading(services.engine) as connection:
            answer = from_kept(await kept.find(connection, beginning))
        return await compare_with_now(services.answerer, answer)


async def _list(settings: Settings, collection: str | None, limit: int) -> "list[ListedAnswer]":
    from search_app.bootstrap import open_services
    from search_app.catalog import answers as kept
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        return await kept.listing(connection, collection=collection, limit=limit)


async def _show(settings: Settings, beginning: str) -> "Answer":
    from search_app.answering.keeping import from_kept
    from search_app.bootstrap import open_services
    from search_app.catalog import answers as kept
    from search_app.catalog.engine import reading

    async with (
        open_services(settings, create=False) as services,
        reading(services.engine) as connection,
    ):
        return from_kept(await kept.find(connection, beginning))


async def _models(settings: Settings) -> list[str]:
    from search_app.bootstrap import make_generator

    # Any name will do to ask for the names.
    spec = settings.generator if settings.generator.startswith("chat:") else "chat:any"
    generator = make_generator(spec, settings)
    try:
        return await generator.models()
    finally:
        await generator.aclose()


def answer_json(answer: "Answer") -> dict[str, object]:
    """Give an answer in the shape that users of ``--json`` rely on."""
    from dataclasses import asdict

    told = asdict(answer)
    del told["collection_id"], told["most_passages"], told["budget"]
    told["strength"]["enough"] = answer.strength.enough
    return told


def _print_event(event: "Event") -> None:
    from search_app.answering.types import Failed, Retrieved, Written

    match event:
        case Retrieved():
            if event.rewriter != "question":
                typer.echo(printable(f"searched for: {event.query}"))
        case Written():
            _print_sentence(event.sentence)
        case Failed():
            typer.echo(printable(f"note: {event.reason}"))


def _print_sentence(sentence: "Sentence") -> None:
    marks = "".join(f"[{number}]" for number in sentence.citations)
    match sentence.state:
        case "quoted":
            line = f"“{' '.join(sentence.text.split())}” {marks}"
        case "removed":
            line = f"(from a document that has been removed) {marks}"
        case "unsupported":
            line = f"{sentence.text}  (no source)"
        case _:
            line = f"{sentence.text} {marks}".rstrip()
    typer.echo(printable(line))


def _print_end(answer: "Answer") -> None:
    cited = set(answer.cited)
    typer.echo("")
    for passage in answer.passages:
        if cited and passage.number not in cited:
            continue
        if passage.removed_at is not None:
            typer.echo(f"[{passage.number}] removed on {passage.removed_at:%Y-%m-%d}")
            continue
        where = " › ".join(passage.heading_path) or passage.document.title
        page = f" · page {passage.page}" if passage.page else ""
        typer.echo(printable(f"[{passage.number}] {where} · {passage.document.uri}{page}"))
        text = " ".join(passage.text.split())
        shown = text if len(text) <= SHOWN_PASSAGE else text[:SHOWN_PASSAGE] + "…"
        typer.echo(printable(f"    {shown}"))
    for notice in answer.notices:
        typer.echo(printable(f"note: {notice.reason}"))
    kept = f" · answer {str(answer.id)[:8]}" if answer.stored else ""
    typer.echo(
        printable(
            f"{answer.outcome} · {answer.generator} · {answer.times['total']:.0f} ms · "
            f"{answer.model}{kept}"
        )
    )


def _show_stability(found: "Stability", *, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json(
            {
                "changed": found.changed,
                "kept": [asdict(place) for place in found.kept],
                "gone": [asdict(place) for place in found.gone],
                "new": [asdict(place) for place in found.new],
                "a": answer_json(found.a),
                "b": answer_json(found.b),
            }
        )
        return
    said = "other places are cited" if found.changed else "the same places are cited"
    typer.echo(
        f"{said}: index {str(found.a.index_id)[:8]} ({found.a.created_at:%Y-%m-%d %H:%M} UTC), "
        f"index {str(found.b.index_id)[:8]} ({found.b.created_at:%Y-%m-%d %H:%M} UTC)"
    )
    for mark, places in (("=", found.kept), ("-", found.gone), ("+", found.new)):
        for place in places:
            _print_place(mark, place)


def _print_place(mark: str, place: "Place") -> None:
    text = " ".join(place.text.split())
    shown = text if len(text) <= SHOWN_PLACE else text[:SHOWN_PLACE] + "…"
    typer.echo(printable(f"{mark} [{place.number}] {place.title}: {shown}"))
