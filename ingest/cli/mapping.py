"""``ingest map``: every passage of an index a place in the plane, to be looked at on ``/map``."""

from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.analysis import Collection, Filters, Index, Seed
from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, named, short
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from ingest.analysing.common import Done
    from ingest.analysing.mapping import MapRequest
    from search_app.jobs import Job


@app.command("map")
def map_command(
    *,
    collection: Collection = None,
    index: Index = "",
    method: Annotated[
        str, typer.Option(help="umap, or pca, which is quick and needs no further package.")
    ] = "umap",
    neighbours: Annotated[
        int,
        typer.Option(
            help="For umap: nearest passages that stay near; fewer show small groups, more the "
            "large lines."
        ),
    ] = 15,
    filters: Filters = None,
    seed: Seed = 0,
    enqueue: Annotated[
        bool, typer.Option("--enqueue", help="Leave the work to ingest worker; prints the job.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a map of an index: passages that mean similar things lie together. See it at /map."""
    from ingest.analysing.common import Scope
    from ingest.analysing.mapping import MapRequest
    from search_app.analysis.projection import check_neighbours, read_projection

    settings = load_settings()
    check_neighbours(neighbours)
    request = MapRequest(
        scope=Scope(
            collection=named(collection, settings),
            index=index or None,
            filters=filters or (),
            seed=seed,
        ),
        method=read_projection(method),
        neighbours=neighbours,
    )
    if enqueue:
        job = wait_for(_enqueue(settings, request), settings)
        if as_json:
            print_json(job.as_json())
        else:
            typer.echo(
                printable(f"job {job.id} · map · collection {job.collection} · {job.status}")
            )
        return
    done = wait_for(_make(settings, request), settings)
    if as_json:
        print_json(done.as_json())
    else:
        _print(done)


async def _make(settings: Settings, request: "MapRequest") -> "Done":
    from ingest.analysing.mapping import map_passages
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await map_passages(services, request)


async def _enqueue(settings: Settings, request: "MapRequest") -> "Job":
    from search_app import jobs
    from search_app.bootstrap import open_services
    from search_app.catalog.analyses import MAP

    options: dict[str, JSON] = {
        **request.scope.as_json(),
        "method": request.method.value,
        "neighbours": request.neighbours,
    }
    async with open_services(settings, create=False) as services:
        job = await jobs.enqueue_analysis(
            services.engine, collection=request.scope.collection, analysis=MAP, options=options
        )
        if not await jobs.worker_alive(services.engine):
            typer.echo("no worker is running; the job waits for: ingest worker", err=True)
    return job


def _print(done: "Done") -> None:
    numbers = done.numbers
    sample = f" of {numbers['available']:,}, drawn by the seed" if numbers["sampled"] else ""
    typer.echo(
        printable(
            f"map {short(done.id)}: {amount(numbers['passages'], 'passage')}{sample} of "
            f"{amount(numbers['documents'], 'document')}, collection {done.collection}, index "
            f"{short(done.index_id)}, {done.model}; {done.parameters['method']}, seed "
            f"{done.parameters['seed']}, {done.seconds:.1f} s"
        )
    )
    if numbers["neighbours_kept"] is None:
        typer.echo("so few passages were laid out by their principal components")
    else:
        typer.echo(
            f"of the {numbers['neighbours_judged']} nearest passages by vector, "
            f"{numbers['neighbours_kept']:.0%} are among the nearest on the map "
            f"({numbers['neighbours_by_luck']:.0%} by luck)"
        )
    typer.echo(f"see it at /map?analysis={done.id} of search-app serve")
