"""Japanese and English pages: which one is answered, that nothing is missing, nothing mixed."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

import pytest
from babel.messages.catalog import Message
from bs4 import BeautifulSoup
from bs4.element import NavigableString
from starlette.testclient import TestClient

from search_app.web.app import create_app
from search_app.web.csrf import FIELD
from search_app.web.messages import extracted, updated
from search_app.web.problems import Kind
from search_app.web.translation import COOKIE, DEFAULT, LANGUAGES, read_catalog
from tests.web_site import Site, built_site

HOST = "http://localhost"
HTML = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
TRANSLATED = [language for language in LANGUAGES if language != DEFAULT]


@pytest.fixture(scope="module")
def site(
    postgres_url: str, template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Site]:
    with built_site(postgres_url, template, tmp_path_factory.mktemp("site")) as built:
        yield built


@pytest.fixture(scope="module")
def shared(site: Site) -> Iterator[TestClient]:
    with TestClient(create_app(site.settings), base_url=HOST, headers=HTML) as opened:
        yield opened


@pytest.fixture
def client(shared: TestClient) -> TestClient:
    shared.cookies.clear()
    return shared


# --- Which language ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "language"),
    [
        ("ja", "ja"),
        ("ja-JP,ja;q=0.9,en-US;q=0.8,en;q=0.7", "ja"),
        ("en-GB,ja;q=0.9", "en"),
        ("en;q=0.3, JA;q=0.4", "ja"),
        ("de, fr;q=0.9, ja;q=0.1", "ja"),
        ("ja;q=0, de", "en"),
        ("de", "en"),
        ("*", "en"),
        ("", "en"),
        (",,;q=;;,ja;q=x,en;q=2, ;", "en"),
        ("ja;q=nan", "en"),
        ("x," * 60 + "ja", "en"),
        ("日本語".encode().decode("latin-1"), "en"),
    ],
)
def test_the_browser_says_which_language_it_wants(
    client: TestClient, wanted: str, language: str
) -> None:
    response = client.get("/runs", headers=[(b"accept-language", wanted.encode("latin-1"))])
    assert response.headers["content-language"] == language
    assert f'<html lang="{language}"' in response.text
    assert response.headers["vary"] == "Accept-Language, Cookie, Authorization"
    assert response.headers["cache-control"] == "private, no-cache"


def language_form(client: TestClient, language: str) -> dict[str, str]:
    soup = BeautifulSoup(client.get("/").text, "html.parser")
    token = soup.select_one("form.language input[name=token]")
    assert token is not None
    return {FIELD: str(token["value"]), "language": language}


def test_the_choice_is_kept_in_a_cookie_and_wins_over_the_browser(client: TestClient) -> None:
    address = "/?q=a%20b&filter=language%3Dja"
    response = client.post(
        "/language",
        data=language_form(client, "ja"),
        headers={"referer": f"{HOST}{address}"},
        follow_redirects=False,
    )
    assert (response.status_code, response.headers["location"]) == (303, address)
    kept = response.headers["set-cookie"]
    assert "HttpOnly" in kept
    assert "SameSite=lax" in kept
    page = client.get("/runs", headers={"accept-language": "en"})
    assert page.headers["content-language"] == "ja"
    client.post("/language", data=language_form(client, "en"))
    page = client.get("/runs", headers={"accept-language": "ja"})
    assert page.headers["content-language"] == "en"


def test_a_broken_choice_is_as_good_as_none(client: TestClient) -> None:
    client.cookies.set(COOKIE, "../../tlh")
    page = client.get("/", headers={"accept-language": "ja"})
    assert page.headers["content-language"] == "ja"
    refused = client.post("/language", data=language_form(client, "tlh"))
    assert refused.status_code == 400
    form = language_form(client, "en") | {FIELD: "0" * 64}
    assert client.post("/language", data=form).status_code == 403


def test_parts_of_pages_come_in_the_same_language(client: TestClient) -> None:
    client.cookies.set(COOKIE, "ja")
    part = client.get("/?q=harbour", headers={"hx-request": "true", "accept-language": "en"})
    assert "件目" in part.text
    assert part.headers["content-language"] == "ja"


def test_the_api_speaks_english_to_everyone(client: TestClient) -> None:
    asked = {"accept": "application/json", "accept-language": "ja"}
    answer = client.get("/api/v1/runs/none", headers=asked)
    assert answer.json()["title"] == "The request does not have the expected shape"


# --- Nothing is missing -----------------------------------------------------------------------


def texts(value: str | tuple[str, ...] | list[str] | None) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[a-z]|%(?![(%])|\{\w+\}", text.replace("%%", "")))


def tags(text: str) -> list[str]:
    return sorted(re.findall(r"<[^>]+>", text))


def messages(language: str) -> list[Message]:
    return [message for message in read_catalog(language) if message.id]


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_text_has_its_translation_and_no_translation_is_left_over(language: str) -> None:
    catalog = read_catalog(language)
    assert not catalog.obsolete, "run make messages"
    assert {(m.id, m.context) for m in updated(language)} == {(m.id, m.context) for m in catalog}, (
        "run make messages"
    )
    lacking = [m.id for m in messages(language) if not m.string or not all(texts(m.string))]
    assert lacking == [], "translate them in search_app/web/locale"
    assert [m.id for m in messages(language) if m.fuzzy] == []


@pytest.mark.parametrize("language", TRANSLATED)
def test_translations_put_in_the_same_values_and_the_same_marks(language: str) -> None:
    for message in messages(language):
        said = texts(message.id)[-1]
        for translated in texts(message.string):
            assert placeholders(translated) == placeholders(said), said
            assert tags(translated) == tags(said), said
            assert translated.startswith((" ", "\n")) == said.startswith((" ", "\n")), said


def test_the_code_is_searched_for_texts_everywhere() -> None:
    found = {texts(message.id)[0] for message in extracted() if message.id}
    assert {"Runs", "%(count)s document", "Folder", "How many hits are wanted"} <= found
    assert {kind.title for kind in Kind} | {kind.hint for kind in Kind} <= found


# --- Nothing is mixed -------------------------------------------------------------------------

NAMES = {
    *(
        "Unmoved",
        "API",
        "JSON",
        "HTTP",
        "RFC",
        "SHA",
        "BM",
        "minmax",
        "bundled",
        "hashing",
        "onnx",
        "openai",
        "sentence-transformers",
        "cron",
        "rrf",
        "UTC",
        "Cookie",
        "MB",
        "ms",
        "cos",
        "English",
        "Web",
        "CKA",
        "NFKC",
        "Unicode",
    ),
    *("Markdown", "PDF", "HTML", "CSV", "TSV", "JSONL", "Python"),
    *("localhost", "Content-Type", "https", "ID"),
    *("Accept", "HDBSCAN", "KB", "MMR", "Ward", "k-means", "search-app"),
    # Values that the API takes, where its page lists them.
    *(
        "UMAP",
        "UNM",
        "NAME",
        "ZIP",
        *("author", "by", "clusters", "count", "csv", "date", "float", "folder", "groups"),
        *("npy", "ordered", "pca", "rows", "source", "type", "uint", "umap", "vectors"),
        "admin",
        "agglomerative",
        "bedrock",
        "cohere",
        "create",
        "day",
        "event-stream",
        "extractive",
        "false",
        "forest",
        "forest-regression",
        "google",
        "group",
        "hdbscan",
        "int",
        "keys",
        "k-means",
        "knn",
        "language",
        "logistic",
        "meta",
        "month",
        "pgvector",
        "ridge",
        "text",
        "voyage",
        "year",
        "zero-shot",
    ),
}
"""Words in Latin letters that Japanese pages use as well."""

GIVEN = "code, pre, kbd, script, [translate=no]"
"""Where pages show what users and machines call their things."""

_WORD = re.compile(r"[A-Za-z][A-Za-z-]*[A-Za-z]")
_CODE = re.compile(
    r"type=pdf and date>=2024|[\w.]+[!<>]?=[\w,]+|UNMOVED(?:_[A-Z]+)+"
    r"|multipart/form-data|application/json"
)


def spoken(soup: BeautifulSoup) -> Iterator[str]:
    """Give the texts of a page that are in its own language, labels of controls included."""
    foreign = f"{GIVEN}, [lang]:not([lang=ja])"
    given = sorted({tag.get_text() for tag in soup.select(foreign)}, key=len, reverse=True)
    for tag in soup.select(foreign):
        tag.decompose()
    for tag in soup.find_all(True):
        labels = ("aria-label", "title", "placeholder", "data-label")
        for text in (str(tag[name]) for name in labels if tag.has_attr(name)):
            yield without(given, text)
        for child in tag.children:
            if type(child) is NavigableString:
                yield without(given, child) if tag.name == "title" else str(child)


def without(given: list[str], text: str) -> str:
    """Take out of a title or a label the names that the page shows elsewhere."""
    for name in given:
        text = text.replace(name, "")
    return text


def english_words(html: str, query: str) -> set[str]:
    soup = BeautifulSoup(html.replace(f"<title>{query} — ", "<title>"), "html.parser")
    words = {word for text in spoken(soup) for word in _WORD.findall(_CODE.sub("", text))}
    return {word for word in words if word not in NAMES and not re.fullmatch("[0-9a-f]+", word)}


_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|(?<=/)[0-9]+")


def kind(address: str) -> tuple[str, ...]:
    """Give what addresses of one kind of page have in common."""
    parts = urlsplit(address)
    # Names that are repeated count once: examples are collected without end.
    return (_ID.sub("*", parts.path), *sorted({name for name, _ in parse_qsl(parts.query)}))


def addresses(client: TestClient, site: Site) -> list[str]:
    """Follow links to one address of every kind of page, and add those that nothing leads to."""
    found = [
        "/?q=harbour&exact=1&filter=language%3Den&page=2",
        "/?q=harbour&page=90",
        "/?q=harbour&filter=meta.year%3E%3D2020",
        "/?q=harbour&page=none",
        "/?q=harbour&collection=nowhere",
        f"/runs/{site.report.run_id}",
        "/runs?page=900",
        "/runs/none",
        "/nowhere",
        "/",
        "/?q=harbour",
    ]
    met = {kind(address) for address in found}
    for address in found:
        soup = BeautifulSoup(client.get(address).text, "html.parser")
        for link in soup.select("a[href^='/']:not([href^='/openapi'], [href^='/api/'])"):
            if kind(linked := str(link["href"]).partition("#")[0]) not in met:
                met.add(kind(linked))
                found.append(linked)
    return found


def test_japanese_pages_speak_japanese_only(client: TestClient, site: Site) -> None:
    places = addresses(client, site)
    assert {"/runs", "/docs", "/documents/*", "/chunks/*/provenance"} <= {
        kind(p)[0] for p in places
    }
    client.cookies.set(COOKIE, "ja")
    mixed = {place: english_words(client.get(place).text, "harbour") for place in places}
    assert {place: words for place, words in mixed.items() if words} == {}


def test_english_pages_speak_english_only(client: TestClient, site: Site) -> None:
    for place in addresses(client, site):
        soup = BeautifulSoup(client.get(place).text, "html.parser")
        for tag in soup.select(f"[lang=ja], .back a span, title, .detail, {GIVEN}"):
            tag.decompose()
        assert re.findall("[ぁ-んァ-ヶ一-龠]+", soup.get_text()) == [], place


def test_every_problem_says_in_japanese_what_happened_and_what_to_do(client: TestClient) -> None:
    client.cookies.set(COOKIE, "ja")
    soup = BeautifulSoup(client.get("/runs/none").text, "html.parser")
    title, hint = soup.select_one("h1"), soup.select_one(".failure .muted")
    assert title is not None
    assert hint is not None
    assert (title.get_text(), hint.get_text()[-5:]) == ("見つかりませんでした", "あります。")
    detail = soup.select_one(".detail")
    assert detail is not None
    assert detail["lang"] == "en"
    assert "no run 'none'" in detail.get_text()
    soup = BeautifulSoup(client.get("/nowhere").text, "html.parser")
    detail = soup.select_one(".detail")
    assert detail is not None
    assert not detail.has_attr("lang")
    assert detail.get_text() == "このアドレスには何もありません。"
