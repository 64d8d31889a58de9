"""Reports as files: whole, self-contained, in both languages, whatever titles and texts say."""

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from bs4 import BeautifulSoup, Tag
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from search_app.catalog.nights import Night
from search_app.consistency.evidence import ALARM, Evidence, interval
from search_app.consistency.keeping import as_json
from search_app.consistency.types import (
    SEVERITY,
    Canaries,
    Cause,
    ChangedQuery,
    CheckReport,
    Clause,
    Documents,
    Fault,
    FaultKind,
    Finding,
    FindingKind,
    Integrity,
    Layers,
    MovedDocument,
    Queries,
    Ranked,
    Spent,
    Verdict,
)
from search_app.reports import plots
from search_app.reports.file import as_html
from search_app.reports.view import view_of
from search_app.reports.wording import FAULTS, VERDICTS, headline
from search_app.translation import LANGUAGES
from search_app.words import Words

HOSTILE = (
    '"><script src=http://evil.example/x.js></script><img onerror=alert(1) src=x>\x00 {{ 7*7 }} %s'
)
AT = datetime(2026, 3, 15, 3, 0, tzinfo=UTC)
STABLE = Layers(
    integrity=Integrity(scanned=2301),
    canaries=Canaries(outcome="same", lowest_cosine=1.0, canary="numbers", noise=0.0),
    queries=Queries(
        references=300,
        sampled=43,
        changed=0,
        repeated=20,
        unsteady=0,
        near_ties=2,
        tolerance=0.002,
        distances=[0.0] * 43,
        noise=[0.0] * 20,
        overlap=(1.0, 1.0),
        recall=1.0,
    ),
    documents=Documents(sampled=8, distances=[0.0] * 8),
)


def made(
    *findings: FindingKind,
    layers: Layers = STABLE,
    causes: Sequence[Cause] = (),
    not_checked: Sequence[str] = (),
    **changes: Any,
) -> dict[str, Any]:
    queries = layers.queries
    verdict = SEVERITY[findings[0]] if findings else Verdict.STABLE
    report = CheckReport(
        check_id=UUID(int=1),
        collection="notes",
        index_id=UUID(int=2),
        model_version_id=UUID(int=3),
        model="openai/bge-m3",
        verdict=verdict,
        sentence="In one sentence.",
        findings=[
            Finding(kind=kind, severity=SEVERITY[kind], sentence=f"{kind} was found")
            for kind in findings
        ],
        reproducibility=interval(queries.unsteady, queries.repeated) if queries else interval(0, 0),
        drift=interval(queries.changed, queries.sampled) if queries else interval(0, 0),
        drift_week=interval(0, 0),
        noise_median=0.0 if queries else None,
        noise_max=0.0 if queries else None,
        evidence_r=Evidence(),
        evidence_p=Evidence(),
        layers=layers,
        causes=causes,
        spent=Spent(texts=95),
        not_checked=not_checked,
        seed=77,
        k=10,
        started_at=AT,
        seconds=12.5,
    )
    return as_json(replace(report, **changes))


def night(number: int = 0, **changes: Any) -> Night:
    """Give a night; the check itself is number 0, and higher numbers are earlier."""
    values: dict[str, Any] = {
        "id": UUID(int=1) if number == 0 else uuid4(),
        "collection": "notes",
        "index_id": UUID(int=2),
        "verdict": "stable",
        "finding": None,
        "sentence": "",
        "sampled": 43,
        "changed": 0,
        "repeated": 20,
        "unsteady": 0,
        "noise_median": 0.0,
        "noise_max": 1e-7,
        "drift": 0.3,
        "reproducibility": 0.5,
        "at": AT - timedelta(days=number),
        "accepted_at": None,
    }
    return Night(**values | changes)


def changed(title: str, text: str | None = "opening hours") -> Layers:
    assert STABLE.queries is not None
    before = [
        Ranked(chunk_id=UUID(int=10 + place), title=f"{title} {place}", before=0.9, after=0.5)
        for place in range(3)
    ]
    after = [before[1], Ranked(chunk_id=UUID(int=99), title=title, before=0.4, after=0.8)]
    worst = ChangedQuery(
        text=text, before=before, after=after, lead=0.041, loss=0.037, cosine=0.9123456
    )
    queries = replace(STABLE.queries, changed=5, worst=[worst], distances=[0.0, 1e-6, 0.4])
    moved = MovedDocument(
        chunk_id=UUID(int=5), title=title, run_id=UUID(int=6), cosine=0.7, noise=0.0
    )
    return replace(
        STABLE, queries=queries, documents=Documents(sampled=8, moved=[moved], distances=[0.3])
    )


def read(html: str) -> BeautifulSoup:
    return BeautifulSoup(html, "html.parser")


def prose(html: str) -> str:
    soup = read(html)
    for style in soup("style"):
        style.decompose()
    return " ".join(soup.get_text(" ").split())


def check_contained(html: str) -> None:
    """Nothing runs, nothing is fetched: not by elements, attributes, nor style."""
    soup = read(html)
    assert not soup(["script", "link", "img", "iframe", "object", "embed", "base", "form", "a"])
    for element in soup.find_all(True):
        for name in element.attrs:
            assert not name.startswith("on"), element
            assert name not in ("src", "href", "style", "xlink:href"), element
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", [None, *FindingKind])
def test_every_verdict_is_told_first_and_in_words(kind: FindingKind | None, language: str) -> None:
    findings = () if kind is None else (kind, FindingKind.STALE)
    html = as_html(made(*findings), [night()], language)
    check_contained(html)
    soup = read(html)
    first = soup.select_one("main section")
    assert isinstance(first, Tag)
    verdict = SEVERITY[kind] if kind else Verdict.STABLE
    assert f"judged-{verdict}" in first["class"]
    word = first.select_one(".sign span")
    assert word is not None
    assert word.get_text() == Words(language).translated(VERDICTS[verdict].text)
    assert first.select_one(".sign svg"), "a shape beside the colour"
    told = first.get_text(" ")
    assert len(first.select("dd")) == 2
    assert "%(" not in told
    assert "%%" not in told
    # Every kind has words of its own, in the language of the report.
    assert "was found" not in told
    assert ("質問" in prose(html)) == (language == "ja")
    assert soup.html is not None
    assert soup.html["lang"] == language


def test_what_is_not_known_by_kind_is_told_as_it_was_kept() -> None:
    report = made(FindingKind.STALE)
    report["findings"] = [{"kind": "new_kind", "severity": "warn", "sentence": "new & odd"}] * 2
    report["causes"] = [
        {"name": "odd", "confirmed": True, "evidence": "50% <of> it", "remedy": "do 100%"}
    ]
    report["not_checked"] = ["100% of something", "queries: the model said <no>"]
    told = prose(as_html(report, [], "ja"))
    for text in ("In one sentence.", "new & odd", "50% <of> it", "do 100%", "the model said <no>"):
        assert text in told


@pytest.mark.parametrize("language", LANGUAGES)
def test_titles_and_questions_cannot_become_markup(language: str) -> None:
    layers = replace(
        changed(HOSTILE, HOSTILE),
        integrity=Integrity(
            scanned=5,
            faults=[Fault(kind=FaultKind.ALTERED, ids=[uuid4() for _ in range(9)], detail=HOSTILE)],
        ),
    )
    told = Clause(sentence="upgraded since: %(packages)s", values={"packages": HOSTILE})
    cause = Cause(name="model swap", confirmed=False, clauses=[told], remedy=HOSTILE)
    report = made(
        FindingKind.DRIFTED,
        layers=layers,
        causes=[cause],
        not_checked=[HOSTILE, f"canaries: {HOSTILE}"],
        collection=HOSTILE,
        model=HOSTILE,
    )
    html = as_html(report, [night(sentence=HOSTILE)], language)
    check_contained(html)
    assert not re.search(r"<(?:script|img)\b", html)
    # "http" stands nowhere but in what was escaped.
    assert "http" not in html.replace("&lt;script src=http://evil.example", "")
    assert "{{ 7*7 }} %s" in prose(html)
    title = read(html).select_one(".ranked-title")
    assert title is not None
    assert "<script src=http" in title.get_text()


@given(text=st.text(max_size=60))
@settings_of_hypothesis(max_examples=40, deadline=None)
def test_any_text_is_shown_as_text(text: str) -> None:
    report = made(FindingKind.DRIFTED, layers=changed(text, text), collection=text)
    html = as_html(report, [night()], "en")
    check_contained(html)
    shown = read(html).select_one(".ranked .came .ranked-title")
    assert shown is not None
    assert shown.get_text().split() == (text.replace("\x00", "�") or "(no title)").split() or (
        "\x00" in text
    )


def test_both_lists_stand_beside_each_other_with_what_left_and_what_came() -> None:
    soup = read(as_html(made(FindingKind.DRIFTED, layers=changed("Tides")), [night()], "en"))
    before, after = soup.select(".changed .ranked")
    assert [len(before("li")), len(after("li"))] == [3, 2]
    assert [mark.get_text(strip=True) for mark in before.select(".ranked-mark")] == ["▼left"] * 2
    assert [mark.get_text(strip=True) for mark in after.select(".ranked-mark")] == ["▲came"]
    assert "now 1" in before("li")[1].get_text(" ")
    assert "was 2" in after("li")[0].get_text(" ")
    assert "0.9000" in before("li")[0].get_text()
    told = prose(str(soup))
    assert "ahead by 0.0410 is now behind by 0.0370" in told
    assert "cosine 0.912346" in told
    hidden = read(as_html(made(layers=changed("Tides", None)), [night()], "en"))
    assert "text is not kept" in prose(str(hidden))


def test_numbers_bounds_and_what_it_took_are_all_there() -> None:
    clause = Clause(
        sentence="%(number)s vectors were made of an earlier text", values={"number": "3"}
    )
    cause = Cause(name="prefix", confirmed=True, clauses=[clause], remedy="set the prefix back")
    ids = [uuid4() for _ in range(7)]
    layers = replace(
        changed("Tides"),
        integrity=Integrity(
            scanned=2301, faults=[Fault(kind=FaultKind.MISSING, ids=ids, detail="no vector")]
        ),
    )
    report = made(
        FindingKind.CORRUPT,
        layers=layers,
        causes=[cause],
        spent=Spent(texts=95, tokens=1234, cost=0.0021),
        evidence_p=Evidence(processes=(5e8,) * 5),
    )
    told = prose(as_html(report, [night()], "en"))
    bounds = interval(5, 43)
    for text in (
        f"{bounds.low:.1%} and {bounds.high:.1%}",
        "7 stored vectors are missing",
        "> 1,000,000",
        "confirmed by trying it out",
        "set the prefix back",
        "and 2 more",
        *(str(one) for one in ids[:5]),
        str(UUID(int=6)),
        "1,234",
        "0.0021",
        "Nothing was left out.",
        "77",
        str(UUID(int=2)),
        str(UUID(int=3)),
        "ingest checks 00000000 --json",
    ):
        assert text in told, text
    assert str(ids[6]) not in told


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("count", [0, 1, 2, 44, 46, 200])
def test_few_nights_and_many_are_plotted(count: int, language: str) -> None:
    nights = [
        night(
            number,
            changed=number % 5,
            noise_max=None if number % 7 == 3 else 10.0 ** -(number % 9),
            drift=float(number**3),
            sampled=0 if number == 1 else 43,
            accepted_at=AT if number == 10 else None,
        )
        for number in range(count)
    ]
    nights = [replace(each, changed=min(each.changed, each.sampled)) for each in nights]
    html = as_html(made(), nights, language)
    check_contained(html)
    soup = read(html)
    drawings = soup.select("svg[role=img]")
    assert len(drawings) == (5 if count else 1)
    for drawing in drawings:
        assert drawing["aria-label"]
        assert drawing("text")
        for element in drawing.find_all(["circle", "rect", "text"]):
            for name, most in (("cx", 380), ("x", 380), ("cy", 260), ("y", 260)):
                if name in element.attrs:
                    assert -1 <= float(str(element[name])) <= most, element
    if count:
        assert "2,000" in drawings[0].get_text()
        assert len(drawings[0].select(".plot-dot")) == 2 * count
        assert bool(drawings[1].select(".plot-band")) == (count - 1 > plots.CROWDED)


def test_evidence_above_the_line_is_drawn_above_it() -> None:
    view = view_of(made(), [night(drift=ALARM * 1.5), night(1, drift=ALARM / 2)], Words("en"))
    evidence = view.plots[0]
    assert evidence.rule is not None
    (_, early, _), (_, late, _) = evidence.series[0].dots
    assert late < evidence.rule.at < early


@pytest.mark.parametrize(
    "layers",
    [Layers(), Layers(integrity=Integrity(scanned=0)), replace(STABLE, documents=None)],
)
@pytest.mark.parametrize("language", LANGUAGES)
def test_layers_that_were_not_looked_at_are_said_to_be_so(layers: Layers, language: str) -> None:
    report = made(
        FindingKind.UNREACHABLE, layers=layers, not_checked=["canaries: no answer in 30 s"]
    )
    html = as_html(report, [], language)
    check_contained(html)
    said = "not looked at" if language == "en" else "見ていません"
    assert said in prose(html)
    assert "no answer in 30 s" in prose(html)


def test_a_first_check_is_not_called_a_failure_to_compare() -> None:
    assert STABLE.queries is not None
    first = replace(
        STABLE, queries=replace(STABLE.queries, references=0, sampled=0, repeated=0, noise=[])
    )
    told = headline(made(FindingKind.TOO_FEW, layers=first)).what
    assert "first check" in told.sentence
    later = replace(STABLE, queries=replace(STABLE.queries, sampled=3))
    told = headline(made(FindingKind.TOO_FEW, layers=later)).what
    assert told.values["sampled"] == 3
    assert "Too few" in told.sentence


def test_a_drift_of_earlier_nights_is_not_told_of_a_night_without_questions() -> None:
    assert STABLE.queries is not None
    none = replace(STABLE, queries=replace(STABLE.queries, sampled=0))
    assert "Earlier checks" in headline(made(FindingKind.DRIFTED, layers=none)).what.sentence


def test_every_fault_and_verdict_has_a_name() -> None:
    assert {kind.value for kind in FaultKind} <= FAULTS.keys()
    assert {verdict.value for verdict in Verdict} <= VERDICTS.keys()


@given(values=st.lists(st.floats(0, 2, allow_nan=False), max_size=40))
def test_axes_hold_what_they_show(values: list[float]) -> None:
    low, high = plots.decades(values, lowest=-9, highest=1)
    assert -9 <= low < high <= 1
    axis = plots.along(low, high, str, bottom="0")
    places = [axis.place(value) for value in sorted(values)]
    assert places == sorted(places)
    assert all(0 <= place <= plots.WIDTH for place in places)
    top = plots.linear(max(values, default=0), str)
    assert all(0 <= top.place(value) <= plots.HEIGHT for value in values)
    assert 2 <= len(top.ticks) <= 2 * plots.MOST_TICKS
