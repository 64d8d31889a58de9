"""``ingest models``: what embedded here, and what an embedder does."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, Offset, amount, print_table, short, when
from ingest.probes import KeptProbe, keep, kept_probes
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.errors import NotFoundError
from search_app.types import JSON, ModelVersion

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.probing import Probed
    from ingest.verifying import Verified
    from search_app.catalog.models import Alias
    from search_app.catalog.proofs import Proof
    from search_app.catalog.statistics import IndexUse
    from search_app.probing import Probe

group = typer.Typer(
    help="List the models that embedded here, show one, and measure what an embedder does.",
    rich_markup_mode=None,
)
app.add_typer(group, name="models", invoke_without_command=True)


@group.callback()
def models(context: typer.Context, *, as_json: AsJson = False) -> None:
    """List the models that embedded here, show one, and measure what an embedder does."""
    if context.invoked_subcommand is None:
        _list(as_json=as_json)


@group.command("list")
def list_models(*, as_json: AsJson = False) -> None:
    """List the model versions that indexes were made with, and what was probed on this machine."""
    _list(as_json=as_json)


@group.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="Id of a model version or the beginning of it.")],
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="Most proofs shown.")] = 20,
    offset: Offset = 0,
    *,
    as_json: AsJson = False,
) -> None:
    """Show a model version: identity, noise, other names, the indexes it made, its proofs."""
    settings = load_settings()
    known = wait_for(_model(settings, model, limit, offset), settings)
    if as_json:
        print_json(known.as_json())
    else:
        _print_model(known)


@group.command("probe")
def probe_model(
    spec: Annotated[
        str,
        typer.Argument(
            help="bundled, openai:MODEL, google:MODEL, bedrock:MODEL, cohere:MODEL, voyage:MODEL, "
            "onnx:FOLDER, sentence-transformers:NAME_OR_PATH or hashing:DIM."
        ),
    ],
    texts: Annotated[
        int, typer.Option(min=2, max=10_000, help="Texts sent, five times each.")
    ] = 64,
    *,
    as_json: AsJson = False,
) -> None:
    """Measure an embedder: dimensions, norms, noise, limit of length, speed.

    What it came to is kept on this machine, for the lists of models; the database stays as it is.
    """
    from ingest.probing import probed

    settings = load_settings()
    found = wait_for(probed(settings, spec, texts=texts), settings)
    if as_json:
        print_json(_probe_json(found))
    else:
        _print_probe(found)
    try:
        keep(settings.data_dir, found.probe)
    except OSError as exc:
        typer.echo(f"not kept for the lists of models: {exc}", err=True)


@group.command("verify")
def verify_model(
    model: Annotated[str, typer.Argument(help="Id of a model version or the beginning of it.")],
    *,
    as_json: AsJson = False,
) -> None:
    """Have a model that was only declared show that imported vectors are its own.

    It embeds some of their passages again. Searches, ingests and checks that reach it do the same.
    """
    settings = load_settings()
    done = wait_for(_verify(settings, model), settings)
    version, proof = done.version, done.proof
    if as_json:
        cosine = None if proof is None else proof.lowest_cosine
        print_json({**asdict(version), "standing": standing(version), "lowest_cosine": cosine})
        return
    if proof is None:
        typer.echo(f"{version.name} was {standing(version)}; there is nothing to verify")
        return
    typer.echo(
        f"{version.name} answers as its vectors were imported: lowest cosine of "
        f"{amount(len(proof.distances), 'passage')} {proof.lowest_cosine:.7f}; its canaries prove "
        "it from now on"
    )


def standing(version: ModelVersion) -> str:
    """Say on what ground a model version stands: observed, or declared and verified or not."""
    if version.declared_at is None:
        return "observed"
    return "declared, not verified" if version.unverified else "declared, verified since"


async def _verify(settings: Settings, model: str) -> "Verified":
    from ingest.verifying import verify
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await verify(services, model)


def _list(*, as_json: bool) -> None:
    settings = load_settings()
    probes = {probe.spec: probe for probe in kept_probes(settings.data_dir)}
    try:
        found = wait_for(_models(settings), settings)
    except NotFoundError:
        # No database yet; what was probed can be listed all the same.
        if not probes:
            raise
        found = []
    if as_json:
        _print_list_json(found, probes)
        return
    rows = [
        [
            short(version.id),
            version.name,
            version.spec,
            str(version.identity.dimensions),
            "-" if version.unverified else f"{version.noise_floor:.1e}",
            "-" if version.unverified else "to the bit" if version.bit_stable else "no",
            standing(version),
            _probed(probes.get(version.spec)),
        ]
        for version in found
    ]
    registered = {version.spec for version in found}
    rows += [
        ["-", probe.model, spec, str(probe.dimensions), "-", "-", "-", _probed(probe)]
        for spec, probe in probes.items()
        if spec not in registered
    ]
    print_table(
        ["id", "model", "spec", "dimensions", "noise floor", "stable", "standing", "probed here"],
        rows,
        empty="no model was used yet",
    )


def _print_list_json(found: Sequence[ModelVersion], probes: "Mapping[str, KeptProbe]") -> None:
    """Print model versions, each with its probe; specs that were only probed have no id."""
    left = dict(probes)
    listed: list[JSON] = []
    for version in found:
        probe = probes.get(version.spec)
        left.pop(version.spec, None)
        probed = probe.as_json() if probe else None
        listed.append({**asdict(version), "standing": standing(version), "probe": probed})
    listed += [{"id": None, "spec": spec, "probe": p.as_json()} for spec, p in left.items()]
    print_json(listed)


def _probed(probe: KeptProbe | None) -> str:
    return "-" if probe is None else f"{probe.stability}, {when(probe.at)}"


async def _models(settings: Settings) -> Sequence[ModelVersion]:
    from search_app.bootstrap import open_services
    from search_app.catalog import models
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        return await models.listing(connection)


@dataclass(frozen=True, kw_only=True)
class _Known:
    """A model version with all that the catalog knows of it."""

    version: ModelVersion
    aliases: Sequence["Alias"]
    indexes: Sequence["IndexUse"]
    outcomes: "Mapping[str, int]"
    proofs: Sequence["Proof"]

    def as_json(self) -> JSON:
        """Give it as ``--json`` prints it."""
        return {
            **asdict(self.version),
            "standing": standing(self.version),
            "aliases": [asdict(alias) for alias in self.aliases],
            "indexes": [
                {
                    "id": use.index.id,
                    "collection": use.collection.name,
                    "state": use.index.state.value,
                    "store": use.index.store,
                    "vectors": use.vectors,
                }
                for use in self.indexes
            ],
            "outcomes": dict(self.outcomes),
            "proofs": [asdict(proof) for proof in self.proofs],
        }


async def _model(settings: Settings, text: str, limit: int, offset: int) -> _Known:
    from search_app.bootstrap import open_services
    from search_app.catalog import models, proofs, statistics
    from search_app.catalog.engine import transaction

    async with (
        open_services(settings, create=False) as services,
        transaction(services.engine) as connection,
    ):
        version = await models.find(connection, text)
        return _Known(
            version=version,
            aliases=await models.aliases(connection, version.id),
            indexes=await statistics.index_uses(connection, model_version_id=version.id),
            outcomes=await proofs.outcomes(connection, version.id),
            proofs=await proofs.listing(connection, version.id, limit=limit, offset=offset),
        )


def _print_model(known: _Known) -> None:
    version, identity = known.version, known.version.identity
    noise = "none: equal to the bit" if version.bit_stable else f"1 − cos {version.noise_floor:.1e}"
    stands = standing(version)
    if version.unverified:
        noise = "not measured"
        stands = f"{stands}: once it answers, ingest models verify {short(version.id)}"
    rows = {
        "model": version.name,
        "id": str(version.id),
        "spec": version.spec,
        "standing": stands,
        "also met as": ", ".join(alias.spec for alias in known.aliases) or "-",
        "revision": identity.revision or "-",
        "dimensions": str(identity.dimensions),
        "most tokens": str(identity.max_tokens or "not told"),
        "prefixes": f"{identity.document_prefix!r} documents, {identity.query_prefix!r} queries",
        **{f"setting {name}": str(value) for name, value in identity.settings.items()},
        "noise floor": noise,
    }
    _print_rows(rows)
    typer.echo("")
    print_table(
        ["index", "collection", "state", "store", "vectors"],
        [
            [
                short(use.index.id),
                use.collection.name,
                use.index.state.value,
                use.index.store,
                f"{use.vectors:,}",
            ]
            for use in known.indexes
        ],
        empty="no index uses it any more",
    )
    typer.echo("")
    print_table(
        ["proved", "outcome", "lowest cosine", "furthest text", "run"],
        [
            [
                when(proof.created_at),
                proof.outcome,
                f"{proof.lowest_cosine:.7f}",
                proof.canary,
                short(proof.run_id) if proof.run_id else "a search",
            ]
            for proof in known.proofs
        ],
        empty="it was never asked"
        if version.unverified
        else "it was not asked since it was registered",
    )
    total = sum(known.outcomes.values())
    if len(known.proofs) < total:
        typer.echo(f"{len(known.proofs):,} of {amount(total, 'proof')}; --offset shows others")


def _print_rows(rows: "Mapping[str, str]") -> None:
    width = max(map(len, rows))
    for name, value in rows.items():
        typer.echo(printable(f"{name:<{width}}  {value}"))


def _probe_json(found: "Probed") -> JSON:
    measured = found.probe
    return {
        **asdict(measured),
        "norms": {**asdict(measured.norms), "unit": measured.norms.unit},
        "stability": measured.stability.value,
        "verdict": measured.verdict,
        "alias_of": None if found.known is None else str(found.known.id),
        "known_spec": None if found.known is None else found.known.spec,
        "registered_under_this_spec": [str(version.id) for version in found.same_spec],
    }


def _print_probe(found: "Probed") -> None:
    measured, identity = found.probe, found.probe.identity
    norms, reach, speed = measured.norms, measured.reach, measured.throughput
    unit = "1" if norms.unit else f"{norms.smallest:.4g} to {norms.largest:.4g}, not normalised"
    tokens = "" if speed.tokens is None else f", {speed.tokens:,.0f} tokens/s"
    _print_rows(
        {
            "model": f"{identity.provider}/{identity.model} {identity.revision}".strip(),
            "dimensions": str(identity.dimensions),
            "length of vectors": unit,
            "long texts": _reach(measured),
            **{
                f"noise, {way.value}": (
                    f"median {noise.median:.1e}, largest {noise.largest:.1e}; "
                    f"{noise.equal:,} of {noise.texts:,} equal to the bit"
                )
                for way, noise in measured.noise.items()
            },
            "speed": f"{speed.texts:,.1f} texts/s{tokens}, {measured.batch_size} a request",
            "known": _known(found),
        }
    )
    if identity.max_tokens and reach.limit == "truncated":
        typer.echo(f"it says that it reads {identity.max_tokens:,} tokens")
    typer.echo(printable(measured.verdict))


def _reach(measured: "Probe") -> str:
    reach = measured.reach
    about = f"about {reach.words:,} words of English ({reach.characters:,} characters)"
    match reach.limit.value:
        case "truncated":
            return f"cut off after {about}; the vector is that of the beginning"
        case "refused":
            return f"refused beyond {about}"
    return f"read whole, up to {about}, the longest that was tried"


def _known(found: "Probed") -> str:
    version = found.known
    if version is not None:
        called = "" if version.spec == found.probe.spec else f", an alias of {version.spec}"
        return f"model version {short(version.id)}{called}"
    unverified = ", ".join(short(each.id) for each in found.same_spec if each.unverified)
    if unverified:
        return (
            f"declared under this spec and not verified: {unverified}; ingest models verify "
            "compares it with what was imported"
        )
    if found.same_spec:
        earlier = ", ".join(short(each.id) for each in found.same_spec)
        return f"no, though {earlier} was registered under this spec: another model answers now"
    return "no: its canaries are those of no model that is registered here"
