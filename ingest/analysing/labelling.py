"""Labels for the documents of an index: judged by cross-validation, suggested, never mixed up."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from uuid import UUID

import numpy as np

from ingest.analysing import suggesting
from ingest.analysing.common import Done, Scope, counted, keep, vectors_of
from search_app.analysis import labels as labelling
from search_app.analysis import regression
from search_app.analysis.asking import MOST_LABELS, check_labelling, check_name, name_of
from search_app.analysis.labels import Classifier, Numbers, Report, Truth
from search_app.analysis.regression import RegressionReport, Regressor
from search_app.analysis.requirements import require_passages, require_scikit_learn
from search_app.analysis.vectors import VectorSet
from search_app.bootstrap import Services
from search_app.catalog import analyses, collections
from search_app.catalog.engine import reading
from search_app.errors import InvalidInputError
from search_app.retrieval import SearchRequest
from search_app.types import JSON, Matrix

DOUBTED = 100
"""Documents listed whose given label another one is predicted for, the surest first."""


@dataclass(frozen=True, kw_only=True)
class LabelRequest:
    """What to predict and how.

    ``name`` is the metadata field; what documents give there is learnt from. ``labels`` are for
    zero-shot: each a name, or a name and what it means, ``sports: games and teams``. ``group`` is
    a field whose documents are kept together in cross-validation. With ``suggest``, documents
    that do not give the field get a suggestion.
    """

    scope: Scope = field(default_factory=Scope)
    name: str = ""
    method: str = Classifier.LOGISTIC.value
    labels: Sequence[str] = ()
    group: str | None = None
    suggest: bool = True


@dataclass(frozen=True, kw_only=True, eq=False)
class _Outcome:
    """What was found: numbers for people, and a value for each place of ``wanted``."""

    numbers: Mapping[str, JSON]
    values: Sequence[tuple[JSON, float | None]]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Task:
    """Document vectors, their given values, and the places that have one or want one."""

    request: LabelRequest
    vectors: Matrix
    given: Sequence[JSON]
    known: Sequence[int]
    wanted: Sequence[int]
    groups: Sequence[str] | None
    document_ids: Sequence[UUID]


async def label(services: Services, request: LabelRequest, *, job_id: int | None = None) -> Done:
    """Predict a field for documents, judge that where values are given, and keep it.

    Raises:
        ConfigurationError: scikit-learn is missing.
        InvalidInputError: nothing to learn from or to tell apart; says what is needed.
        EmbedderError: zero-shot labels cannot be embedded by the model of the index.
        NotFoundError, StoreError, CatalogError: as loading vectors does.
    """
    require_scikit_learn("labelling")
    _check(request)
    began = time.monotonic()
    vectors = await vectors_of(services, request.scope)
    require_passages(len(vectors), 1, "labelling")
    task = _task(request, vectors)
    if request.method == Classifier.ZERO_SHOT:
        names, rows = await _embedded(services, task)
        outcome = await asyncio.to_thread(_zero_shot, task, names, rows)
    elif request.method in tuple(Regressor):
        outcome = await asyncio.to_thread(_regressed, task)
    else:
        outcome = await asyncio.to_thread(_classified, task)
    done = await keep(
        services,
        analyses.LABELS,
        vectors,
        parameters={
            **request.scope.as_json(),
            "name": request.name,
            "method": request.method,
            "labels": list(request.labels),
            "group": request.group,
            "suggest": request.suggest,
        },
        numbers={
            **counted(vectors),
            "given": len(task.known),
            "suggested": len(task.wanted) if request.suggest else 0,
            **outcome.numbers,
            "doubted": await _titled(services, outcome.numbers.get("doubted", [])),
        },
        began=began,
        job_id=job_id,
    )
    if request.suggest:
        await suggesting.suggest(
            services,
            vectors.target.collection,
            name=request.name,
            method=request.method,
            analysis_id=done.id,
            labels={
                task.document_ids[place]: value
                for place, value in zip(task.wanted, outcome.values, strict=True)
            },
        )
    return done


def _check(request: LabelRequest) -> None:
    check_labelling(
        name=request.name, method=request.method, labels=request.labels, group=request.group
    )


def _task(request: LabelRequest, vectors: VectorSet) -> _Task:
    documents = vectors.document_vectors()
    field_name = f"meta.{request.name}"
    if request.method == Classifier.ZERO_SHOT and request.labels:
        # Nothing needs to be given where labels are named.
        given: list[JSON] = [(each.get("meta") or {}).get(request.name) for each in vectors.fields]
        given = [None if isinstance(each, list) else each for each in given]
    else:
        given = vectors.values(field_name)
    groups = None if request.group is None else [str(v) for v in vectors.values(request.group)]
    return _Task(
        request=request,
        vectors=documents,
        given=given,
        known=[place for place, value in enumerate(given) if value is not None],
        wanted=[place for place, value in enumerate(given) if value is None],
        groups=groups,
        document_ids=vectors.document_ids,
    )


async def _embedded(services: Services, task: _Task) -> tuple[list[str], Matrix]:
    """Embed the labels as queries, by the model of the index, which proves itself first."""
    request = task.request
    texts = list(request.labels) or sorted({str(task.given[place]) for place in task.known})
    if not 1 < len(texts) <= MOST_LABELS:
        values = "1 value" if len(texts) == 1 else f"{len(texts):,} values"
        raise InvalidInputError(
            f"field 'meta.{request.name}' has {values}; zero-shot chooses between 2 to "
            f"{MOST_LABELS}, name them with --label"
        )
    rows = []
    for text in texts:
        asked = SearchRequest(
            query=text,
            collection=request.scope.collection,
            index=request.scope.index,
            mode="semantic",
            logged=False,
        )
        rows.append((await services.searcher.asked_with(asked))[1])
    names = [name_of(text) if request.labels else text for text in texts]
    return names, np.stack(rows)


def _zero_shot(task: _Task, names: Sequence[str], rows: Matrix) -> _Outcome:
    judged = [place for place in task.known if str(task.given[place]) in names]
    temperature, report, numbers = labelling.TEMPERATURE, None, {}
    truth = np.array([names.index(str(task.given[place])) for place in judged], np.int64)
    several = len(judged) >= labelling.LEAST_LABELLED and len(set(truth.tolist())) > 1
    if several:
        documents = task.vectors[judged]
        temperature = labelling.fitted_temperature(documents, rows, truth)
        report = labelling.zero_shot_report(
            documents, rows, names, truth, seed=task.request.scope.seed
        )
        numbers = _report_json(report)
        numbers["doubted"] = _doubted(task, judged, report, truth)
    predicted = labelling.zero_shot(task.vectors[task.wanted], rows, temperature)
    numbers |= {"temperature": temperature, "calibrated": several, "labels": list(names)}
    return _Outcome(numbers=numbers, values=_chosen(predicted, names))


def _classified(task: _Task) -> _Outcome:
    method = labelling.read_classifier(task.request.method)
    seed = task.request.scope.seed
    given = [str(task.given[place]) for place in task.known]
    labelling.check_labelled(given, f"meta.{task.request.name}")
    rows = task.vectors[task.known]
    report = labelling.cross_validated(
        method, rows, given, groups=_of(task.groups, task.known), seed=seed
    )
    truth = np.array([report.labels.index(each) for each in given], np.int64)
    predicted = np.zeros((0, len(report.labels)))
    if task.wanted and task.request.suggest:
        model: Any = labelling.trained(method, rows, truth, seed)
        predicted = model.predict_proba(task.vectors[task.wanted])
    return _Outcome(
        numbers={**_report_json(report), "doubted": _doubted(task, task.known, report, truth)},
        values=_chosen(predicted, report.labels),
    )


def _regressed(task: _Task) -> _Outcome:
    method = Regressor(task.request.method)
    seed = task.request.scope.seed
    known = [
        place
        for place in task.known
        if isinstance(task.given[place], int | float) and not isinstance(task.given[place], bool)
    ]
    values = np.array([float(task.given[place]) for place in known])
    regression.check_numbers(values.tolist(), f"meta.{task.request.name}")
    report = regression.cross_validated(
        method, task.vectors[known], values, groups=_of(task.groups, known), seed=seed
    )
    predicted: Numbers = np.zeros(0)
    if task.wanted and task.request.suggest:
        model = regression.trained(method, task.vectors[known], values, seed)
        predicted = model.predict(task.vectors[task.wanted])
    return _Outcome(
        numbers=_regression_json(report),
        values=[(float(f"{value:.6g}"), None) for value in predicted.tolist()],
    )


def _of(groups: Sequence[str] | None, places: Sequence[int]) -> list[str] | None:
    return None if groups is None else [groups[place] for place in places]


def _chosen(probabilities: Numbers, names: Sequence[str]) -> list[tuple[JSON, float | None]]:
    best = probabilities.argmax(axis=1) if len(probabilities) else np.zeros(0, np.intp)
    return [
        (names[place], float(probabilities[row, place])) for row, place in enumerate(best.tolist())
    ]


def _doubted(
    task: _Task, places: Sequence[int], report: Report, truth: Truth
) -> list[dict[str, JSON]]:
    """List documents whose given label another one is predicted for, the surest first."""
    chosen = report.probabilities.argmax(axis=1)
    sure = report.probabilities.max(axis=1)
    rows = np.flatnonzero(chosen != truth)
    rows = rows[np.argsort(-sure[rows], kind="stable")][:DOUBTED]
    return [
        {
            "document_id": str(task.document_ids[places[row]]),
            "given": report.labels[truth[row]],
            "predicted": report.labels[chosen[row]],
            "probability": float(sure[row]),
        }
        for row in rows.tolist()
    ]


async def _titled(services: Services, doubted: Sequence[Mapping[str, JSON]]) -> list[JSON]:
    async with reading(services.engine) as connection:
        titles = await analyses.titles_of(
            connection, [UUID(each["document_id"]) for each in doubted]
        )
    return [{**each, "title": titles.get(UUID(each["document_id"]), "")} for each in doubted]


def _report_json(report: Report) -> dict[str, JSON]:
    return {
        "labels": list(report.labels),
        "judged": report.documents,
        "folds": report.folds,
        "accuracy": asdict(report.accuracy),
        "macro_f1": asdict(report.macro_f1),
        "baseline": report.baseline,
        "each": [asdict(each) for each in report.each],
        "confusion": [list(row) for row in report.confusion],
        "calibration": asdict(report.calibration),
    }


def _regression_json(report: RegressionReport) -> dict[str, JSON]:
    return {
        "judged": report.documents,
        "folds": report.folds,
        "r2": asdict(report.r2),
        "mae": asdict(report.mae),
        "rmse": report.rmse,
        "spearman": report.spearman,
        "baseline_mae": report.baseline_mae,
    }


async def withdraw_label(services: Services, collection: str, name: str) -> int:
    """Take back all that is suggested for a field of a collection; say how many it were.

    Raises:
        InvalidInputError: no field can be called so.
        NotFoundError: there is no such collection.
    """
    check_name(name)
    async with reading(services.engine) as connection:
        known = await collections.get(connection, collection)
    return await suggesting.withdraw(services, known, name)
