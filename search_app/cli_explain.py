"""``search-app explain``: where the vector of a passage comes from, and whether it holds."""

from typing import TYPE_CHECKING, Annotated
from uuid import UUID

import typer

from search_app.config import Settings, load_settings
from search_app.console import SOME_FAILED, print_json, printable, wait_for
from search_app.errors import InvalidInputError
from search_app.types import JSON

if TYPE_CHECKING:
    from search_app.provenance import Provenance, Verification


def explain(
    chunk_id: Annotated[str, typer.Argument(help="Id of a passage, as --json prints it.")],
    index: Annotated[
        str, typer.Option(help="Another index than the one that answers searches, by its id.")
    ] = "",
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Embed it again and compare with what is stored.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show where the vector of a passage comes from: text sent, model version, run, batch, hashes.

    Exit code with --verify: 0 the same but for noise, 1 another vector or other stored bytes.
    """
    settings = load_settings()
    found, checked = wait_for(
        _explain(settings, passage_id(chunk_id), index or None, verify=verify), settings
    )
    if as_json:
        print_json(_json(found, checked))
    else:
        _print(found, checked)
    if checked is not None and not checked.holds:
        raise typer.Exit(SOME_FAILED)


def passage_id(text: str) -> UUID:
    """Read the id of a passage.

    Raises:
        InvalidInputError: it is none.
    """
    try:
        return UUID(text)
    except ValueError as exc:
        raise InvalidInputError(
            f"{text[:50]!r} is no id of a passage; search-app search --json prints them"
        ) from exc


async def _explain(
    settings: Settings, chunk_id: UUID, index: str | None, *, verify: bool
) -> "tuple[Provenance, Verification | None]":
    from search_app import provenance
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        found = await provenance.provenance_of(services, chunk_id, index=index)
        return found, await provenance.verify(services, found) if verify else None


def _json(found: "Provenance", checked: "Verification | None") -> JSON:
    from search_app.provenance import provenance_json, verification_json

    shown = provenance_json(found)
    if checked is not None:
        shown["verification"] = verification_json(found, checked)
    return shown


def _print(found: "Provenance", checked: "Verification | None") -> None:
    record, version = found.record, found.version
    made = f"{found.run.id}, {found.run.started_at:%Y-%m-%d %H:%M} UTC on {found.run.host}"
    stands = "declared, not verified" if version.unverified else ""
    lines = {
        "document": found.passage.document.uri,
        "passage": f"{record.chunk_id} (number {found.passage.ordinal + 1})",
        "collection": found.collection,
        "index": f"{found.index.id} ({found.index.state}, {found.index.store})",
        "model": ", ".join(filter(None, (version.name, version.identity.revision, stands))),
        "model version": str(version.id),
        "run": made,
        "taken over by": str(record.copied_by_run_id) if record.copied_by_run_id else "",
        "request": f"text {record.batch_position + 1} of {record.batch_size}",
        "pieces": f"{record.pieces}, averaged: too long for the model" if record.pieces > 1 else "",
        "length received": f"{record.norm:.6g}",
        "sent SHA-256": record.sent_hash.hex(),
        "received SHA-256": record.received_hash.hex(),
        "stored SHA-256": record.stored_hash.hex(),
    }
    for name, value in lines.items():
        if value:
            typer.echo(f"{name + ':':<18}{printable(value)}")
    if found.sent_as_recorded:
        typer.echo("text sent, exactly:")
    else:
        typer.echo("text as it would be sent now; by its hash, another one was sent then:")
    typer.echo("\n".join(f"  {printable(line)}" for line in found.sent.split("\n")))
    if checked is not None:
        typer.echo(_verdict(checked))


def _verdict(checked: "Verification") -> str:
    from search_app.provenance import Likeness

    said = {
        Likeness.EQUAL: "the same vector, to the bit",
        Likeness.WITHIN: "the same vector, within the noise floor",
        Likeness.NEW_BUILD: "further away than the noise floor: a new build of the model may be "
        "answering, or the vector was made in another batch",
        Likeness.BEYOND: "another vector: the model, its settings or the stored vector is not what "
        "it was",
    }[checked.likeness]
    line = (
        f"embedded again: cosine {checked.cosine:.9f} (1 - cos {checked.distance:.3g}, noise floor "
        f"{checked.noise_floor:.3g}): {said}"
    )
    if not checked.intact:
        line += "; the stored bytes are not those that were recorded, run: ingest reconcile"
    return line
