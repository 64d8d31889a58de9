"""``ingest runs``: what was executed, one run whole, and what two of them have not alike."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import (
    AsJson,
    Offset,
    amount,
    cost_of,
    print_table,
    sent_line,
    short,
    when,
)
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.types import JSON, Failure, ModelVersion, Run

if TYPE_CHECKING:
    from search_app.run_differences import RunDifferences

group = typer.Typer(help="List the runs, show one, and compare two.", rich_markup_mode=None)
app.add_typer(group, name="runs", invoke_without_command=True)

OfCollection = Annotated[str | None, typer.Option(help="Only runs of this collection.")]
MostRuns = Annotated[int, typer.Option(min=1, max=1000, help="Most runs shown.")]
RunId = Annotated[str, typer.Argument(help="Id of a run or the beginning of it.")]


@group.callback()
def runs(
    context: typer.Context,
    collection: OfCollection = None,
    limit: MostRuns = 20,
    *,
    as_json: AsJson = False,
) -> None:
    """List the runs, newest first; show one, and compare two."""
    if context.invoked_subcommand is None:
        _list(collection, limit, as_json=as_json)


@group.command("list")
def list_runs(
    collection: OfCollection = None, limit: MostRuns = 20, *, as_json: AsJson = False
) -> None:
    """List the runs, newest first."""
    _list(collection, limit, as_json=as_json)


@group.command("show")
def show_run(
    run: RunId,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most failures shown.")] = 100,
    offset: Offset = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a run: what it was told, with what code and model, where, its counts and failures."""
    settings = load_settings()
    shown = wait_for(_shown(settings, run, limit, offset), settings)
    if as_json:
        print_json(shown.as_json())
    else:
        _print_run(shown, offset)


@group.command("diff")
def compare(
    first: RunId,
    second: RunId,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Most documents shown.")] = 100,
    offset: Offset = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Compare two runs: configuration, versions, documents, chunks and vectors that changed."""
    settings = load_settings()
    found = wait_for(_compared(settings, first, second, limit, offset), settings)
    if as_json:
        print_json(asdict(found))
    else:
        _print_differences(found)


def _list(collection: str | None, limit: int, *, as_json: bool) -> None:
    settings = load_settings()
    found = wait_for(_runs(settings, collection, limit), settings)
    if as_json:
        print_json([asdict(run) for run in found])
        return
    print_table(
        [
            *("run", "kind", "collection", "status", "started", "s"),
            *("added", "updated", "failed", "tokens", "cost"),
        ],
        [_row(run) for run in found],
        empty="no runs yet; try: ingest add PATH",
    )


def _row(run: Run) -> list[str]:
    documents = run.counts.get("documents", {})
    return [
        short(run.id),
        run.kind,
        run.collection,
        run.status,
        when(run.started_at),
        _seconds(run),
        *(f"{documents.get(name, 0):,}" for name in ("added", "updated", "failed")),
        *_sent(run),
    ]


def _sent(run: Run) -> tuple[str, str]:
    """Say how many tokens the model was sent and what that cost; runs of before were not asked."""
    sent = run.counts.get("sent")
    if sent is None:
        return "-", "-"
    about = "~" if sent["estimated_tokens"] else ""
    return f"{about}{sent['tokens']:,}", cost_of(sent, run.counts.get("currency", ""))


def _counter(sent: JSON) -> str:
    """Say which tokenizer counted."""
    estimated = sent["estimated_tokens"]
    if not estimated:
        return "the model's own tokenizer"
    if estimated == sent["tokens"]:
        return "the bundled tokenizer, near enough for most models"
    return f"the models' own tokenizers, {estimated:,} of them by the bundled one"


def _seconds(run: Run) -> str:
    if run.finished_at is None:
        return "-"
    return f"{(run.finished_at - run.started_at).total_seconds():,.1f}"


@dataclass(frozen=True, kw_only=True)
class _Shown:
    """A run with all that the catalog knows of it."""

    run: Run
    model: ModelVersion | None
    parts: Sequence[Run]
    failures: Sequence[Failure]

    def as_json(self) -> JSON:
        """Give it as ``--json`` prints it."""
        return {
            **asdict(self.run),
            "model_version": None if self.model is None else asdict(self.model),
            "parts": [asdict(part) for part in self.parts],
            "failures": [asdict(failure) for failure in self.failures],
        }


async def _runs(settings: Settings, collection: str | None, limit: int) -> Sequence[Run]:
    from search_app.bootstrap import open_services
    from search_app.catalog import collections, runs
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        if collection is not None:
            await collections.get(connection, collection)
        return await runs.listing(connection, collection=collection, limit=limit)


async def _shown(settings: Settings, text: str, limit: int, offset: int) -> _Shown:
    from search_app.bootstrap import open_services
    from search_app.catalog import runs
    from search_app.catalog.engine import transaction
    from search_app.run_differences import model_of

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        run = await runs.find(connection, text)
        return _Shown(
            run=run,
            model=await model_of(connection, run),
            parts=await runs.parts(connection, run.id),
            failures=await runs.errors(connection, run.id, limit=limit, offset=offset),
        )


async def _compared(
    settings: Settings, first: str, second: str, limit: int, offset: int
) -> "RunDifferences":
    from search_app.bootstrap import open_services
    from search_app.catalog import runs
    from search_app.catalog.engine import transaction
    from search_app.run_differences import compare_runs

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        one, other = await runs.find(connection, first), await runs.find(connection, second)
        return await compare_runs(connection, one, other, limit=limit, offset=offset)


def _print_run(shown: _Shown, offset: int) -> None:
    from search_app.run_differences import flattened

    run, model = shown.run, shown.model
    rows = {
        "run": str(run.id),
        "kind": run.kind,
        "collection": run.collection,
        "status": run.status if run.reason is None else f"{run.status}: {run.reason}",
        "started": when(run.started_at),
        "seconds": _seconds(run),
        "host": f"{run.host}, process {run.process_id}",
        "code": f"unmoved {run.code_version}",
        "index": str(run.index_id or "-"),
        "model version": "-" if model is None else f"{model.name} {short(model.id)}",
        **dict(flattened(run.configuration, "configuration.")),
        **{f"library {name}": version for name, version in sorted(run.library_versions.items())},
    }
    for noun, counted in run.counts.items():
        if noun == "sent":
            rows[noun] = sent_line(counted, run.counts.get("currency", ""))
            rows["tokens counted by"] = _counter(counted)
        elif isinstance(counted, dict):
            rows[noun] = ", ".join(f"{number:,} {name}" for name, number in counted.items())
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(printable(f"{name:<{width}}  {value}"))
    for part in shown.parts:
        typer.echo(f"a share of it: run {short(part.id)} on {part.host}, {part.status}")
    for failure in shown.failures:
        typer.echo(printable(f"failed  {failure.source}: {failure.reason}"))
    if offset + len(shown.failures) < run.errors:
        total = amount(run.errors, "failure")
        typer.echo(f"{len(shown.failures):,} of {total}; --offset shows others")


def _print_differences(found: "RunDifferences") -> None:
    names = [f"run {short(run.id)}" for run in (found.first, found.second)]
    rows = [*found.configuration, *found.versions]
    print_table(
        ["", *names],
        [[each.name, each.first or "-", each.second or "-"] for each in rows],
        empty="told the same, and with the same code, libraries and model",
    )
    typer.echo("")
    if found.totals is None or found.documents is None:
        typer.echo("the runs are of different collections")
    else:
        told = [f"{number:,} {change}" for change, number in found.totals.documents.items()]
        typer.echo(f"documents: {', '.join(told) or 'none changed'}")
        typer.echo(
            f"chunks of these: {found.totals.chunks_then:,} before, {found.totals.chunks_now:,} now"
        )
        for each in found.documents:
            typer.echo(printable(f"  {each.change:<8} {each.uri}"))
        if len(found.documents) < sum(found.totals.documents.values()):
            typer.echo("  …; --limit and --offset show others")
    vectors = found.vectors
    if vectors is None:
        return
    if vectors.same_index:
        typer.echo(
            f"vectors of the index now: {vectors.made_by_first:,} made by {names[0]}, "
            f"{vectors.made_by_second:,} made and {vectors.copied_by_second:,} copied by "
            f"{names[1]}, {vectors.others:,} by others"
        )
    else:
        typer.echo(
            f"vectors of both indexes: {vectors.equal:,} equal, {vectors.differing:,} differ, "
            f"{vectors.only_first:,} only in the first, {vectors.only_second:,} only in the second"
        )
