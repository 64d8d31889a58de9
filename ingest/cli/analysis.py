"""``ingest cluster``, ``outliers``, ``diversity`` and ``label``: an index seen as a whole."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from ingest.cli.app import app
from ingest.cli.tables import AsJson, amount, named, print_table, short
from search_app.config import Settings, load_settings
from search_app.console import print_json, printable, wait_for
from search_app.types import JSON

if TYPE_CHECKING:
    from ingest.analysing.common import Done, Scope
    from search_app.bootstrap import Services

T = TypeVar("T")

SHOWN = 20
SHOWN_TITLE = 40
SHOWN_TEXT = 60

Collection = Annotated[str | None, typer.Option(help="The collection.")]
Index = Annotated[
    str, typer.Option(help="An index, by its id or the beginning; the active one if unset.")
]
Filters = Annotated[
    list[str] | None,
    typer.Option("--filter", help="Only documents that pass; as often as needed: language=ja."),
]
Seed = Annotated[int, typer.Option(min=0, help="Of all that is drawn: same seed, same result.")]


@app.command()
def cluster(
    *,
    collection: Collection = None,
    index: Index = "",
    method: Annotated[str, typer.Option(help="k-means, agglomerative or hdbscan.")] = "k-means",
    number: Annotated[
        int | None,
        typer.Option(
            "--number",
            "-n",
            help="How many clusters, suggested by the silhouette if unset; for hdbscan, the least "
            "size of one.",
        ),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option("--field", help="A field to compare clusters with: meta.group, language."),
    ] = None,
    repeats: Annotated[
        int, typer.Option(help="Repeats by which stability is told; 0 leaves it out.")
    ] = 5,
    filters: Filters = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Cluster the passages of an index; say what each cluster is about and how stable it is."""
    from ingest.analysing.clustering import ClusterRequest, cluster
    from search_app.analysis.clusters import read_method

    settings = load_settings()
    request = ClusterRequest(
        scope=_scope(settings, collection, index, filters, seed),
        method=read_method(method),
        number=number,
        field=against,
        repeats=repeats,
    )
    done = _do(settings, lambda services: cluster(services, request), as_json=as_json)
    if done is not None:
        _print_clusters(done)


@app.command()
def outliers(
    *,
    collection: Collection = None,
    index: Index = "",
    k: Annotated[int, typer.Option("--k", help="Neighbours by which a passage is far.")] = 10,
    cosine: Annotated[
        float, typer.Option(help="From which two passages count as near-duplicates.")
    ] = 0.98,
    filters: Filters = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Find what stands out: passages far from all, there twice, empty, or in a rare language."""
    from ingest.analysing.outlying import OutlierRequest, outliers

    settings = load_settings()
    request = OutlierRequest(
        scope=_scope(settings, collection, index, filters, seed), k=k, cosine=cosine
    )
    done = _do(settings, lambda services: outliers(services, request), as_json=as_json)
    if done is not None:
        _print_outliers(done)


@app.command()
def diversity(
    *,
    collection: Collection = None,
    index: Index = "",
    query: Annotated[
        str | None, typer.Option(help="Measure what this query finds instead of everything.")
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many hits of the query.")] = 10,
    mmr: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="λ of maximal marginal relevance for the query."),
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="Compare groups: year, month, day or meta.author.")
    ] = None,
    filters: Filters = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Measure how much passages differ: mean distance and Vendi score, of all or of groups."""
    from ingest.analysing.diversity import DiversityRequest, diversity

    settings = load_settings()
    request = DiversityRequest(
        scope=_scope(settings, collection, index, filters, seed),
        query=query,
        k=k,
        mmr=mmr,
        by=by,
    )
    done = _do(settings, lambda services: diversity(services, request), as_json=as_json)
    if done is not None:
        _print_diversity(done)


@app.command()
def label(
    name: Annotated[str, typer.Argument(help="The metadata field, such as topic.")],
    *,
    collection: Collection = None,
    index: Index = "",
    method: Annotated[
        str,
        typer.Option(help="zero-shot, knn, logistic, forest; numbers: ridge, forest-regression."),
    ] = "logistic",
    labels: Annotated[
        list[str] | None,
        typer.Option(
            "--label",
            help="For zero-shot, as often as needed: a name, or 'sports: games and teams'.",
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="A field whose documents are kept together in cross-validation."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only judge; suggest nothing.")
    ] = False,
    withdraw: Annotated[
        bool, typer.Option("--withdraw", help="Take back what was suggested, and do no more.")
    ] = False,
    filters: Filters = None,
    seed: Seed = 0,
    as_json: AsJson = False,
) -> None:
    """Suggest a metadata field for documents without it, learnt from those that have it.

    Suggestions are kept apart from given values, with method, probability and model.
    """
    from ingest.analysing.labelling import LabelRequest, label, withdraw_label

    settings = load_settings()
    scope = _scope(settings, collection, index, filters, seed)
    if withdraw:
        gone = wait_for(
            _opened(settings, lambda services: withdraw_label(services, scope.collection, name)),
            settings,
        )
        if as_json:
            print_json({"name": name, "withdrawn": gone})
        else:
            typer.echo(printable(f"{amount(gone, 'suggestion')} of {name} withdrawn"))
        return
    request = LabelRequest(
        scope=scope,
        name=name,
        method=method,
        labels=labels or (),
        group=group,
        suggest=not dry_run,
    )
    done = _do(settings, lambda services: label(services, request), as_json=as_json)
    if done is not None:
        _print_labels(done)


def _scope(
    settings: Settings,
    collection: str | None,
    index: str,
    filters: Sequence[str] | None,
    seed: int,
) -> "Scope":
    from ingest.analysing.common import Scope

    return Scope(
        collection=named(collection, settings),
        index=index or None,
        filters=filters or (),
        seed=seed,
    )


def _do(
    settings: Settings, work: "Callable[[Services], Awaitable[Done]]", *, as_json: bool
) -> "Done | None":
    """Do an analysis; print it here and give None where JSON is wanted."""
    done = wait_for(_opened(settings, work), settings)
    if as_json:
        print_json(done.as_json())
        return None
    return done


async def _opened(settings: Settings, work: "Callable[[Services], Awaitable[T]]") -> T:
    from search_app.bootstrap import open_services

    async with open_services(settings, create=False) as services:
        return await work(services)


def _head(done: "Done") -> None:
    numbers = done.numbers
    sample = f" of {numbers['available']:,}, drawn by the seed" if numbers["sampled"] else ""
    typer.echo(
        printable(
            f"{done.kind} {short(done.id)}: {amount(numbers['passages'], 'passage')}{sample} of "
            f"{amount(numbers['documents'], 'document')}, collection {done.collection}, index "
            f"{short(done.index_id)}, {done.model}; seed {done.parameters['seed']}, "
            f"{done.seconds:.1f} s"
        )
    )


def _print_clusters(done: "Done") -> None:
    _head(done)
    numbers = done.numbers
    suggestion = numbers["suggestion"]
    if suggestion is not None:
        typer.echo(
            f"{suggestion['number']} clusters suggested by the silhouette, {suggestion['gap']:.3f} "
            "ahead of the next best number"
        )
    in_none = f", {amount(numbers['in_none'], 'passage')} in none" if numbers["in_none"] else ""
    typer.echo(
        f"{done.parameters['method']}: {amount(numbers['number'], 'cluster')}{in_none}; silhouette "
        f"{_number(numbers['silhouette'])}, Davies-Bouldin {_number(numbers['davies_bouldin'])}"
    )
    for name, words in (("noise", "the model's noise"), ("resampling", "resampling")):
        stability = numbers["stability"][name]
        if stability is not None:
            typer.echo(
                f"stability under {words}: ARI {stability['ari']:.3f}, lowest "
                f"{stability['lowest_ari']:.3f}"
            )
    agreement = numbers["agreement"]
    if agreement is not None:
        typer.echo(
            printable(
                f"against {agreement['field']}: ARI {agreement['ari']:.3f}, NMI and V-measure "
                f"{agreement['nmi']:.3f}"
            )
        )
    print_table(
        ["cluster", "name", "passages", "silhouette", "noise", "resampling"],
        [
            [
                str(each["cluster"]),
                each["name"] or "-",
                f"{each['size']:,}",
                _number(each["silhouette"]),
                _number(each["stability_noise"]),
                _number(each["stability_resampling"]),
            ]
            for each in numbers["clusters"]
        ],
        empty="no cluster was found; take a smaller least size, or k-means",
    )


def _print_outliers(done: "Done") -> None:
    _head(done)
    numbers = done.numbers
    counts = numbers["counts"]
    typer.echo(
        f"far from everything: {counts['far']:,}; near-duplicates: {counts['in_groups']:,} in "
        f"{amount(counts['groups'], 'group')}; boilerplate: {counts['boilerplate']:,}; empty: "
        f"{counts['empty']:,}; in a rare language: {amount(counts['foreign'], 'document')}"
    )
    rows = [
        *(("far", f"{each['score']:.1f}", each) for each in numbers["far"]),
        *(("group", str(each["size"]), each["passages"][0]) for each in numbers["groups"]),
        *(("boilerplate", str(each["documents"]), each) for each in numbers["boilerplate"]),
        *(("empty", str(each["letters"]), each) for each in numbers["empty"]),
        *(("language", each["language"], each) for each in numbers["foreign"]),
    ]
    print_table(
        ["what", "score", "id", "title", "text"],
        [
            [
                what,
                score,
                short(each.get("chunk_id") or each["document_id"]),
                each["title"][:SHOWN_TITLE],
                each.get("text", "")[:SHOWN_TEXT],
            ]
            for what, score, each in rows[:SHOWN]
        ],
        empty="nothing stands out",
    )
    if len(rows) > SHOWN:
        typer.echo(f"and {len(rows) - SHOWN:,} more; --json has them")


def _print_diversity(done: "Done") -> None:
    _head(done)
    numbers = done.numbers
    typer.echo(
        f"mean distance {numbers['mean_distance']:.4f}; Vendi score {numbers['vendi']:.2f} of "
        f"{numbers['n']:,}"
    )
    for name, formula in numbers["formulas"].items():
        typer.echo(f"{name}: {formula}")
    if numbers["groups"]:
        size = numbers["groups"][0]["size"]
        print_table(
            ["group", "passages", "mean distance", "Vendi", f"Vendi at {size}"],
            [
                [
                    each["name"],
                    f"{each['n']:,}",
                    f"{each['mean_distance']:.4f}",
                    f"{each['vendi']:.2f}",
                    f"{each['vendi_at_size']:.2f}",
                ]
                for each in numbers["groups"]
            ],
            empty="",
        )


def _print_labels(done: "Done") -> None:
    _head(done)
    numbers = done.numbers
    parameters = done.parameters
    typer.echo(
        printable(
            f"{parameters['name']} by {parameters['method']}: given by "
            f"{amount(numbers['given'], 'document')}, suggested for {numbers['suggested']:,}"
        )
    )
    if "accuracy" in numbers:
        calibration = numbers["calibration"]
        typer.echo(
            f"{numbers['folds']}-fold cross-validation: accuracy {_spread(numbers['accuracy'])}, "
            f"macro F1 {_spread(numbers['macro_f1'])}; always the commonest: "
            f"{numbers['baseline']:.3f}; calibration error {calibration['ece']:.3f}, Brier "
            f"{calibration['brier']:.3f}"
        )
        print_table(
            ["label", "documents", "precision", "recall", "F1"],
            [
                [
                    each["label"],
                    f"{each['support']:,}",
                    *(f"{each[name]:.3f}" for name in ("precision", "recall", "f1")),
                ]
                for each in numbers["each"]
            ],
            empty="",
        )
    elif "r2" in numbers:
        typer.echo(
            f"{numbers['folds']}-fold cross-validation: R² {_spread(numbers['r2'])}, mean error "
            f"{_spread(numbers['mae'])} (always the median: {numbers['baseline_mae']:.4g}), "
            f"Spearman {numbers['spearman']:.3f}"
        )
    else:
        typer.echo(
            "too few documents have the field to judge by, so probabilities are not calibrated"
        )


def _spread(value: Mapping[str, JSON]) -> str:
    return f"{value['value']:.3f} (95 % {value['low']:.3f} to {value['high']:.3f})"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
