"""``ingest import``: what was made elsewhere, checked and verified."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, named, short
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for

if TYPE_CHECKING:
    from ingest.importing import ImportReport, ImportRequest

group = typer.Typer(
    help="Bring in what was made elsewhere.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(group, name="import")


@group.command()
def vectors(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="Passages and their vectors, as ingest export writes them; .npy with its .csv.",
        ),
    ],
    *,
    collection: Annotated[str | None, typer.Option(help="Whose passages they are of.")] = None,
    embedder: Annotated[str, typer.Option(help="What made them, as for ingest add.")] = "",
    model_version: Annotated[
        str, typer.Option(help="What made them, by its id as ingest models lists it.", metavar="ID")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """Build an index of precomputed vectors, once the model has shown that they are its own.

    The model answers its canaries and embeds some passages again. All of the file goes in, or
    nothing; passages that it lacks are embedded. Which index answers does not change. Of a model
    that does not answer they are imported unverified, until it does.
    """
    from ingest.importing import ImportRequest

    settings = load_settings()
    request = ImportRequest(
        file=file,
        collection=named(collection, settings),
        embedder=embedder or None,
        model_version=model_version or None,
    )
    done = wait_for(_import(settings, request), settings)
    if as_json:
        print_json(
            {
                "run_id": str(done.run_id),
                "model_version_id": str(done.model_version_id),
                "model": done.model,
                "imported": done.imported,
                "sampled": done.sampled,
                "unverified": done.unverified,
                "warnings": list(done.warnings),
                "furthest": done.furthest,
                "allowed": done.allowed,
                "index": done.built.as_json(),
            }
        )
        return
    for warning in done.warnings:
        typer.echo(printable(f"warning: {warning}"), err=True)
    vectors, model = amount(done.imported, "vector"), short(done.model_version_id)
    if done.furthest is None or done.allowed is None:
        typer.echo(
            printable(
                f"{vectors} declared to be of {done.model}, not verified: it does not answer "
                f"({done.unverified})"
            )
        )
        typer.echo(
            f"whatever asks it next has it embed {done.sampled} of the passages first, and trusts "
            f"it only if they come out the same; ingest models verify {model} does that at once"
        )
    else:
        typer.echo(
            f"{vectors} of {done.model}; {done.sampled} embedded again, at most "
            f"{done.furthest:.2e} away (1 − cos; {done.allowed:.2e} allowed)"
        )
    typer.echo(
        f"index {short(done.built.index_id)} is {done.built.state.value}: {done.built.copied:,} "
        f"passages taken over, {done.built.embedded:,} embedded; ingest activate makes it answer"
    )


async def _import(settings: Settings, request: "ImportRequest") -> "ImportReport":
    from ingest.importing import import_vectors
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await import_vectors(services, request)
