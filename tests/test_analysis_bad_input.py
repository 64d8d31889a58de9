"""What cannot be analysed is told in a sentence: by commands, over the API and on pages."""

import importlib.util
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import typer
from bs4 import BeautifulSoup
from starlette.testclient import TestClient

from ingest.analysing.asking import analyse
from ingest.cli import app as ingesting
from ingest.pipeline import IngestRequest, ingest
from search_app.analysis.asking import LABEL_METHODS
from search_app.analysis.labels import Classifier
from search_app.analysis.regression import Regressor
from search_app.bootstrap import open_services
from search_app.catalog import collections
from search_app.catalog.engine import transaction
from search_app.cli import app as searching
from search_app.config import Settings, load_settings
from search_app.console import run
from search_app.web.app import create_app
from search_app.web.csrf import FIELD
from search_app.web.translation import COOKIE as LANGUAGE
from tests.web_site import ATTACK, cloned, run_apart

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("sklearn") is None,
    reason="needs scikit-learn: pip install 'unmoved[analysis]'",
)

HOST = "http://localhost"
EMBEDDER = "hashing:64"
NOBODY = "00000000-0000-0000-0000-000000000000"
LONGEST_LINE = 900
"""Characters that one sentence on a terminal may have: 20 names of fields are among them."""

WORDS = ["ferry", "harbour", "barge", "quay", "anchor", "sailor", "tide", "port", "ship", "mast"]
TEXTS = [
    " ".join(WORDS[(place * 3 + step * (place % 4 + 1)) % len(WORDS)] for step in range(6))
    for place in range(10)
]
LONG = "".join(chr(ord("a") + place * place % 26) for place in range(9_000))
HOSTILE = ("a\x00b", "\udcff", f"meta.{LONG}", "meta", "'; --")
HOSTILE_FORM = ("a\x00b", "meta.a\x00b", f"meta.{LONG}", "meta", "'; --")
"""A form carries no broken Unicode."""
NO_NUMBERS = ("-1", "nan", "1e9", "99999999999999999999", "x")


def notes(texts: Sequence[str], **fields: Callable[[int], Any]) -> list[dict[str, Any]]:
    """Give a record for each text, with those fields that are not None for its place."""
    return [
        {"id": f"n{place}", "title": "Note", "text": text}
        | {name: each(place) for name, each in fields.items() if each(place) is not None}
        for place, text in enumerate(texts)
    ]


COLLECTIONS: Mapping[str, list[dict[str, Any]]] = {
    "one": notes(TEXTS[:1]),
    "two": notes(TEXTS[:2]),
    "ten": notes(
        TEXTS,
        topic=lambda place: "ab"[place % 2],
        weight=float,
        huge=lambda place: (-1) ** place * 1e308,
        date=lambda place: f"20{10 + place}-01-01",
        tags=lambda place: ["x", str(place)],
        own=str,
    ),
    "same": notes(["Every note says this."] * 10, topic=lambda n: "ab"[n % 2], weight=float),
    "label": notes(TEXTS, topic=lambda place: "sea" if place < 7 else None, full=lambda _: "x"),
    "日本語": [
        {**each, "分類": "甲乙"[place % 2], "長" * 300: place, ATTACK: "v"}
        for place, each in enumerate(
            notes([f"図書館は毎週{'月火水木金'[n % 5]}曜日に休みます。{n}" for n in range(10)])
        )
    ],
}
"""Of none to ten passages; ``empty`` is a collection without anything."""


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Mapping[str, str]]]:
    """Collections as above, and an analysis of each kind of one of them."""
    folder = tmp_path_factory.mktemp("notes")

    async def fill(settings: Settings) -> dict[str, str]:
        async with open_services(settings) as services:
            for name, rows in COLLECTIONS.items():
                path = folder / f"{name}.jsonl"
                lines = [json.dumps(row, ensure_ascii=False) for row in rows]
                path.write_text("\n".join(lines), encoding="utf-8")
                await ingest(services, IngestRequest(arguments=[str(path)], collection=name))
            async with transaction(services.engine) as connection:
                await collections.get_or_create(connection, "empty")
            return {
                kind: str((await analyse(services, "ten", kind, options)).id)
                for kind, options in (
                    ("clusters", {"number": 3, "repeats": 0}),
                    ("map", {}),
                    ("outliers", {}),
                    ("labels", {"name": "topic", "method": "knn"}),
                )
            } | {"other": str((await analyse(services, "same", "map", {})).id)}

    with cloned(postgres_url, template) as database_url:
        settings = load_settings(
            DATABASE_URL=database_url,
            data_dir=tmp_path_factory.mktemp("data"),
            embedder=EMBEDDER,
        )
        yield settings, run_apart(fill(settings))


@pytest.fixture(scope="module")
def served(site: tuple[Settings, Mapping[str, str]]) -> Iterator[TestClient]:
    settings, _ = site
    application = create_app(settings)
    with TestClient(
        application, base_url=HOST, follow_redirects=False, raise_server_exceptions=False
    ) as opened:
        yield opened


Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    site: tuple[Settings, Mapping[str, str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Run a command as its process would, and give its code and what it wrote."""
    settings, _ = site
    assert settings.database_url is not None
    monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
    monkeypatch.setenv("UNMOVED_DATA_DIR", str(settings.data_dir))
    monkeypatch.setenv("UNMOVED_EMBEDDER", EMBEDDER)

    def invoke(app: typer.Typer, *arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["command", *arguments])
        code = run(app)
        written = capsys.readouterr()
        return code, written.out, written.err

    return invoke


def check_sentence(error: str, arguments: Sequence[str]) -> str:
    """See that an error is one sentence and give it, whichever library refused the option."""
    *usage, line = error.strip().splitlines()
    assert line.lower().startswith("error: "), (arguments, error[:300])
    assert not usage or usage[0].startswith("Usage: "), (arguments, error[:300])
    assert "Traceback" not in error, arguments
    assert "database" not in line, (arguments, line)
    assert 20 < len(line) < LONGEST_LINE, (arguments, line[:300])
    return line


OPTIONS = {
    "cluster": ("--field", "--index", "--filter", "--method"),
    "diversity": ("--by", "--query", "--index", "--filter"),
    "label topic": ("--group", "--method", "--label", "--index"),
    "map": ("--method", "--index"),
    "outliers": ("--filter", "--index"),
}
NUMBERS = {
    "cluster": ("--number", "--repeats", "--seed"),
    "diversity --query ferry": ("--k", "--mmr", "--seed"),
    "label topic": ("--seed",),
    "map": ("--neighbours", "--seed"),
    "outliers": ("--k", "--cosine", "--seed"),
    "excluded": ("--limit",),
}


def test_hostile_options_of_commands_are_refused_in_a_sentence(command: Command) -> None:
    tried = [
        [*name.split(), f"{option}={value}", "--collection=ten"]
        for table, values in ((OPTIONS, HOSTILE), (NUMBERS, NO_NUMBERS))
        for name, options in table.items()
        for option in options
        for value in values
        # A text that can be looked for, a seed that can be drawn by.
        if (option, value) not in (("--query", "meta"), ("--query", "'; --"))
    ]
    for arguments in tried:
        code, _, error = command(ingesting, *arguments)
        assert code == 2, (arguments, error)
        check_sentence(error, arguments)
    for value in HOSTILE:
        for arguments in (["label", value], ["label", value, "--withdraw"], ["exclude", value]):
            if value in ("meta", "'; --") and arguments[-1] == "--withdraw":
                continue
            code, _, error = command(ingesting, *arguments, "--collection=ten")
            assert code == 2, (arguments, error)
            check_sentence(error, arguments)


def test_hostile_options_of_groups_and_recommendations_are_refused(command: Command) -> None:
    field = ["groups", "meta.topic"]
    like = ["recommend", "text:ferry"]
    tried = [
        arguments
        for value in HOSTILE
        for arguments in (
            ["groups", value],
            [*field, value],
            [*field, "--index", value],
            ["recommend", value],
            ["recommend", f"document:{value}"],
            [*like, "--unlike", value],
            [*like, "--filter", value],
            [*like, "--index", value],
            [*like, "--mode", value],
        )
    ] + [
        arguments
        for value in NO_NUMBERS
        for arguments in (
            [*field, "a", f"--k={value}"],
            [*field, "a", f"--mmr={value}"],
            [*like, f"--k={value}"],
            [*like, f"--mmr={value}"],
            [*like, f"--per-document={value}"],
        )
    ]
    for arguments in tried:
        code, _, error = command(searching, *arguments, "--collection=ten")
        assert code == 2, (arguments, error)
        check_sentence(error, arguments)


REFUSED: Sequence[tuple[str, str, str]] = [
    *(
        (name, "empty", "ingest something into it first")
        for name in ("cluster", "map", "outliers", "diversity", "label topic", "export FILE.csv")
    ),
    *(
        (name, "nobody", "no collection 'nobody'; there are 'one', 'two'")
        for name in ("cluster", "map", "outliers", "diversity", "label topic", "excluded")
    ),
    ("cluster", "one", "clustering needs 3 passages or more and there is 1 passage"),
    ("cluster", "two", "clustering needs 3 passages or more and there are 2 passages"),
    ("cluster --method hdbscan", "two", "clustering needs 3 passages or more"),
    ("cluster", "same", "all 10 passages have the same vector, so there is nothing to cluster"),
    ("cluster --method agglomerative -n 3", "same", "have the same vector"),
    ("cluster -n 10", "ten", "10 clusters cannot be made of 10 vectors that differ; ask for 2"),
    ("cluster -n 400", "ten", "400 clusters cannot be made of 10 vectors that differ"),
    ("cluster --field meta.none", "ten", "no document of collection 'ten' has the field"),
    ("cluster --field none", "ten", "'none' is no field; write language, source"),
    ("cluster --field meta.full", "label", "field 'meta.full' says 'x' wherever it is given"),
    ("cluster --field meta.topic", "label", "says 'sea' wherever it is given, so there is"),
    ("cluster --field meta.tags", "ten", "field 'meta.tags' has lists, so there is nothing"),
    ("cluster --field meta.none", "日本語", "has the field 'meta.none'; there are folder"),
    ("cluster --filter language=xx", "ten", "there is no passage; ingest more"),
    ("outliers", "one", "needs 3 passages or more and there is 1 passage"),
    ("outliers", "two", "needs 3 passages or more and there are 2 passages"),
    ("diversity", "one", "diversity needs 2 passages or more and there is 1 passage"),
    ("diversity --by year", "two", "no document of collection 'two' has a date"),
    ("diversity --by year", "ten", "no group by year has two passages or more"),
    ("diversity --by meta.own", "ten", "no group by meta.own has two passages or more"),
    ("diversity --mmr 0.5", "ten", "mmr orders what a query finds; name a query too"),
    ("diversity --query=", "ten", "the query has 0 characters"),
    ("map --neighbours 1", "ten", "1 neighbours were asked for; write a number from 2 to 100"),
    ("label topic", "two", "has the field 'meta.topic'; there are folder, language"),
    ("label topic", "label", "7 documents have the field 'meta.topic'; 10 or more are needed"),
    ("label full", "label", "all 10 documents that have the field 'meta.full' say 'x'"),
    ("label own", "ten", "labels that documents share are needed"),
    ("label full --method zero-shot", "label", "has 1 value; zero-shot chooses between 2"),
    ("label huge --method ridge", "ten", "numbers up to 1e+100 can be learnt from"),
    ("label topic --method ridge", "ten", "0 documents have a number in the field"),
    ("label topic --group folder", "ten", "the documents are of 1 groups"),
    ("label topic --group meta.none", "ten", "has the field 'meta.none'"),
    ("label x --method zero-shot --label a", "ten", "1 label was named; 2 to 200 are needed"),
    ("label x --method zero-shot --label a:b --label a:c", "ten", "label 'a' is named 2 times"),
    ("label x --method zero-shot --label :b --label a", "ten", "label ':b' has no name"),
    ("label topic --label a --label b", "ten", "only zero-shot takes them by name"),
    ("label meta.topic", "ten", "without meta., for example topic"),
    ("label meta. --withdraw", "ten", "without meta., for example topic"),
    (f"exclude {NOBODY}", "ten", f"no document and no passage '{NOBODY}' in collection 'ten'"),
    (f"include {NOBODY}", "ten", "no document and no passage"),
    ("export FILE.txt", "ten", "let it end in .parquet, .csv or .npy"),
]
ASKED_IN_VAIN: Sequence[tuple[str, str, str]] = [
    ("groups folder", "empty", "ingest something into it first"),
    ("groups meta.none", "日本語", "has the field 'meta.none'"),
    ("groups meta.topic c", "ten", "nothing is known of 'c'"),
    ("recommend text:ferry", "empty", "ingest something into it first"),
    (f"recommend {NOBODY}", "ten", f"no passage {NOBODY}; its document may have changed"),
    (f"recommend document:{NOBODY}", "ten", f"no document {NOBODY}"),
    ("recommend PASSAGE", "same", "of collection 'ten'"),
    ("recommend PASSAGE --unlike text:star --unlike PASSAGE", "ten", "both for and against"),
]


def test_what_cannot_be_done_is_said_in_a_sentence(
    command: Command, served: TestClient, site: tuple[Settings, Mapping[str, str]], tmp_path: Path
) -> None:
    _, made = site
    listed = served.get(f"/api/v1/analyses/{made['clusters']}/members").json()["members"]
    names = {"PASSAGE": listed[0]["chunk_id"], "FILE": str(tmp_path / "file")}
    for app, table in ((ingesting, REFUSED), (searching, ASKED_IN_VAIN)):
        for written, collection, words in table:
            line = written
            for name, meant in names.items():
                line = line.replace(name, meant)
            arguments = [*line.split(), "--collection", collection]
            code, _, error = command(app, *arguments)
            assert code == 2, (arguments, error)
            assert words in check_sentence(error, arguments), arguments
    assert not list(tmp_path.iterdir())


DONE: Sequence[tuple[str, str, str]] = [
    ("cluster -n 9", "ten", "k-means: 9 clusters"),
    ("cluster -n 9 --method agglomerative", "日本語", "agglomerative: 9 clusters"),
    ("cluster -n 50 --method hdbscan", "ten", "no cluster was found; take a smaller least size"),
    ("map", "one", "map "),
    ("map --neighbours 100", "same", "laid out by their principal components"),
    ("map", "日本語", "日本語"),
    ("outliers --k 100", "ten", "far from everything: "),
    ("outliers", "same", "near-duplicates: 10 in 1 group"),
    ("diversity", "same", "mean distance 0.0000; Vendi score 1.00"),
    ("diversity --by meta.分類", "日本語", "甲"),
    ("label topic --method knn --dry-run", "same", "accuracy"),
    ("label topic --method logistic --dry-run", "same", "accuracy"),
    ("label weight --method ridge --dry-run", "same", "R²"),
    ("label x --method zero-shot --label a --label b", "one", "suggested for 1"),
]


def test_what_can_be_done_with_little_is_done_without_a_warning(command: Command) -> None:
    for written, collection, words in DONE:
        code, out, error = command(ingesting, *written.split(), "--collection", collection)
        assert (code, error) == (0, ""), (written, error)
        assert words in out, (written, out)


PAGES = ("clusters", "outliers", "diversity", "labels", "map", "exclusions", "groups")


@pytest.mark.parametrize("language", ["en", "ja"])
def test_pages_of_small_collections_say_what_comes_next(served: TestClient, language: str) -> None:
    served.cookies.set(LANGUAGE, language)
    for collection in ("empty", *COLLECTIONS):
        for name in PAGES:
            answer = served.get(f"/{name}", params={"collection": collection})
            assert answer.status_code == 200, (name, collection, answer.text[-600:])
            main = BeautifulSoup(answer.text, "html.parser").find("main")
            assert main is not None
            shown = main.select(".notice, .facts, table, form[method=post], form#field")
            assert shown or main.select("a[href*='field=']"), (name, collection)
            assert ATTACK not in answer.text
    served.cookies.clear()


def test_where_there_is_nothing_the_page_leads_to_what_makes_it(served: TestClient) -> None:
    answer = served.get("/map/table", params={"collection": "two"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/map?collection=two")
    text = served.get("/exclusions", params={"collection": "two"}).text
    assert 'href="/outliers"' in text
    empty = served.get("/groups", params={"collection": "empty"}).text
    assert "ingest add PATH" in empty


VALUES = (*HOSTILE, "-1", "nan", "99999999999999999999", "", NOBODY, ATTACK, "clusters:zz")
READ = {
    "/clusters": ("collection", "page"),
    "/clusters/{clusters}": ("cluster", "page"),
    "/clusters/{clusters}?cluster=0": ("page",),
    "/outliers": ("collection", "analysis", "page"),
    "/diversity": ("collection", "analysis", "page"),
    "/labels": ("collection", "name", "page"),
    "/labels/{labels}": ("page",),
    "/map": ("collection", "analysis", "by", "q"),
    "/map/table": ("collection", "analysis", "by", "group", "page"),
    "/exclusions": ("collection", "page"),
    "/groups": ("collection", "field", "page"),
    "/groups?collection=ten&field=meta.topic": ("value", "page"),
    "/groups?collection=ten&field=meta.topic&value=a": ("describe", "own"),
    "/recommend": ("like", "unlike", "like_text", "collection", "filter", "mode", "mmr"),
    "/api/v1/analyses": ("kind", "collection", "limit", "offset"),
    "/api/v1/analyses/{clusters}/members": ("cluster", "limit", "offset"),
    "/api/v1/suggestions": ("collection", "document_id", "name", "value", "limit"),
    "/api/v1/exclusions": ("collection", "limit", "offset"),
    "/api/v1/maps/{map}/groups": ("by",),
    "/api/v1/maps/{map}/points": ("by", "group", "limit", "offset"),
    "/api/v1/maps/{map}/points.bin": ("by",),
    "/api/v1/maps/{map}/query": ("q", "k"),
    "/api/v1/groups?collection=ten": ("field", "index", "limit", "offset"),
    "/api/v1/groups/recommendations?collection=ten&field=meta.topic": ("value", "k", "mmr"),
    "/api/v1/collections/ten/export": ("index", "format"),
}
NAMED = (
    "/clusters/",
    "/labels/",
    "/similar/chunks/",
    "/similar/documents/",
    "/api/v1/analyses/",
    "/api/v1/maps/{map}/points/",
    "/api/v1/collections/",
)


def test_hostile_addresses_are_answered(
    served: TestClient, site: tuple[Settings, Mapping[str, str]]
) -> None:
    _, made = site
    others = (made["map"], f"clusters:{made['other']}")
    for address, names in READ.items():
        for name in names:
            for value in (*VALUES, *others):
                path, _, given = address.format_map(made).partition("?")
                query = f"{given}&" if given else ""
                written = quote(value[:2_000].encode("utf-8", "surrogatepass"))
                _check_answered(served, f"{path}?{query}{name}={written}")
    for address in NAMED:
        for value in (*VALUES, *others):
            written = quote(value[:2_000].encode("utf-8", "surrogatepass"), safe="")
            _check_answered(served, address.format_map(made) + written)


def _check_answered(served: TestClient, address: str) -> None:
    answer = served.get(address)
    assert answer.status_code < 500, address[:200]
    if answer.status_code >= 400 and address.startswith("/api"):
        assert len(answer.json()["detail"]) < LONGEST_LINE, address[:200]
    assert ATTACK not in answer.text or address.startswith("/api"), address[:200]


FORMS: Mapping[str, Mapping[str, Sequence[str]]] = {
    "clusters": {
        "method": (*HOSTILE_FORM, "magic"),
        "number": ("-1", "1", "501", "nan", "x"),
        "field": (*HOSTILE_FORM, "topic"),
        "collection": (*HOSTILE_FORM, ""),
    },
    "outliers": {"collection": HOSTILE_FORM},
    "diversity": {"query": ("a\x00b", LONG), "by": (*HOSTILE_FORM, "week")},
    "labels": {
        "name": ("a\x00b", LONG, "", " ", "meta.topic"),
        "method": (*HOSTILE_FORM, "magic"),
        "labels": ("a\x00b\nc", "a\na", f"{LONG}\nb", ":b\nc", "a\nb"),
    },
    "map": {"method": (*HOSTILE_FORM, "tsne")},
}


def test_forms_that_cannot_be_meant_queue_no_job(served: TestClient) -> None:
    page = BeautifulSoup(served.get("/labels").text, "html.parser")
    field = page.find("input", {"name": FIELD})
    assert field is not None
    for kind, given in FORMS.items():
        for name, values in given.items():
            for value in values:
                usual = {"collection": "ten"} | ({"name": "topic"} if kind == "labels" else {})
                form = {
                    **usual,
                    name: value,
                }
                answer = served.post(f"/{kind}", data={**form, FIELD: str(field["value"])})
                refused = (400, 404) if name == "collection" else (400,)
                assert answer.status_code in refused, (kind, name, value[:40], answer.status_code)


BODIES: Mapping[str, Mapping[str, Sequence[Any]]] = {
    "clusters": {
        "method": (*HOSTILE, "magic", ""),
        "number": (-1, 0, 1, 501, 1e9, "3", True),
        "field": (*HOSTILE, "meta.\ud800", "", "meta."),
        "repeats": (-1, 51, 0.5),
        "seed": (-1, 2**40, 1.5),
        "index": ("a\x00b", "\udcff"),
        "filters": (["meta"], ["a\x00b=1"], "language=ja"),
        "neighbours": (5,),
    },
    "outliers": {"k": (-1, 0, 101), "cosine": (-1, 0, 1.01, "nan")},
    "diversity": {"query": ("a\x00b", LONG, "", " "), "mmr": (0.5, -1), "by": (*HOSTILE, "")},
    "labels": {
        "name": ("a\x00b", LONG, "meta.topic", ""),
        "method": (*HOSTILE, "magic"),
        "labels": (["a", "b"], ["a"]),
        "group": (*HOSTILE, "topic"),
    },
    "map": {"method": (*HOSTILE, "tsne"), "neighbours": (-1, 1, 101)},
}


def test_bodies_that_cannot_be_meant_queue_no_job(served: TestClient) -> None:
    for kind, given in BODIES.items():
        for name, values in given.items():
            for value in values:
                usual = {"collection": "ten", "kind": kind}
                usual |= {"name": "topic"} if kind == "labels" else {}
                answer = served.post(
                    "/api/v1/analyses",
                    content=json.dumps({**usual, name: value}),
                    headers={"content-type": "application/json"},
                )
                assert answer.status_code in (400, 422), (kind, name, str(value)[:40])
                assert 20 < len(answer.json()["detail"]) < LONGEST_LINE, (kind, name)


def test_methods_are_checked_by_all_their_names() -> None:
    assert set(LABEL_METHODS) == {*Classifier, *Regressor}
