"""Fetching pages from a real server that is slow, hostile, broken or polite."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from ingest.fetching.fetcher import Fetcher
from ingest.types import PageRef, SourceRef
from search_app.config import load_settings
from search_app.errors import SourceError, SourceGoneError
from tests.page_server import (
    CERTIFICATE,
    HTML,
    Answer,
    PageServer,
    closed_port,
    drip,
    endless,
    gzip_bomb,
    page_server,
)

PAGE = "<html><body><p>The ferry leaves at seven.</p></body></html>"


@pytest.fixture
def pages() -> Iterator[PageServer]:
    with page_server() as server:
        yield server


@pytest.fixture
def fetcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    with make(tmp_path, monkeypatch) as made:
        yield made


def make(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, private: bool = True, seconds: int = 20
) -> Fetcher:
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    settings = load_settings(
        data_dir=folder, fetch_private=private, fetch_seconds=seconds, max_file_mb=1
    )
    return Fetcher(settings, pause_s=0)


def get(fetcher: Fetcher, uri: str) -> SourceRef:
    found = fetcher.fetch(PageRef(uri=uri, root=uri))
    assert found is not None
    return found


def failure(fetcher: Fetcher, uri: str) -> str:
    with pytest.raises(SourceError) as failed:
        fetcher.fetch(PageRef(uri=uri, root=uri))
    assert failed.value.source == uri
    assert "\n" not in failed.value.reason
    return failed.value.reason


def left_over(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def test_a_page_becomes_a_file_that_goes_when_it_was_read(
    pages: PageServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    uri = pages.page("/ferry?day=1", PAGE, ETag='"one"')
    ref = get(fetcher, uri)
    assert (ref.uri, ref.name, ref.size) == (uri, "ferry.html", len(PAGE))
    assert ref.path.read_text() == PAGE
    assert ref.meta == {"charset": "utf-8", "address": uri}
    assert pages.received[-1].headers["host"] == f"127.0.0.1:{pages.port}"
    assert pages.received[-1].headers["user-agent"].startswith("Unmoved/")
    fetcher.discard(ref)
    assert left_over(tmp_path) == []


def test_closing_leaves_nothing_behind(pages: PageServer, fetcher: Fetcher, tmp_path: Path) -> None:
    get(fetcher, pages.page("/a", PAGE))
    fetcher.close()
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_takes_nothing_is_one_line(
    pages: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path / "missing", monkeypatch) as fetcher:
        reason = failure(fetcher, pages.page("/", PAGE))
    assert reason == "cannot be kept while it is read: no such file or directory"


def test_files_of_others_are_not_discarded(
    pages: PageServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    ref = get(fetcher, pages.page("/", PAGE))
    own = tmp_path / "own.html"
    own.write_text("mine")
    fetcher.discard(replace(ref, path=own))
    assert own.exists()
    fetcher.discard(ref)
    assert not ref.path.exists()


def test_private_machines_are_refused_unless_allowed(
    pages: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with make(tmp_path, monkeypatch, private=False) as fetcher:
        uri = pages.page("/", PAGE)
        assert "UNMOVED_FETCH_PRIVATE=true" in failure(fetcher, uri)
        assert "loopback" in failure(fetcher, uri.replace("127.0.0.1", "[::ffff:127.0.0.1]"))
        resolve_to(
            monkeypatch, {"inside.example": ["127.0.0.1"], "both.example": ["8.8.8.8", "::1"]}
        )
        assert "127.0.0.1" in failure(fetcher, uri.replace("127.0.0.1", "inside.example"))
        assert "loopback" in failure(fetcher, uri.replace("127.0.0.1", "both.example"))
    assert pages.received == []


def test_a_redirect_is_checked_like_any_address(pages: PageServer, fetcher: Fetcher) -> None:
    metadata = pages.redirect("/", "http://169.254.169.254/latest/meta-data/")
    assert "cloud metadata" in failure(fetcher, metadata)
    assert "only addresses of http" in failure(fetcher, pages.redirect("/f", "file:///etc/passwd"))
    assert "redirected to" in failure(fetcher, pages.redirect("/n", "http://0x7f.1/"))


def test_redirects_are_followed_five_times(pages: PageServer, fetcher: Fetcher) -> None:
    pages.page("/5", PAGE)
    for step in range(5):
        pages.redirect(f"/{step}", f"{step + 1}")
    ref = get(fetcher, f"{pages.url}/0")
    assert (ref.uri, ref.meta["address"]) == (f"{pages.url}/0", f"{pages.url}/5")
    pages.redirect("/5", "/0")
    assert "redirected more than 5 times" in failure(fetcher, f"{pages.url}/0")


def test_a_name_is_resolved_once_for_each_request(
    pages: PageServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.page("/", PAGE)
    # The second answer, with which a rebinding name would reach another machine, is not asked for.
    asked = resolve_to(monkeypatch, {"pages.example": ["127.0.0.1"]})
    get(fetcher, f"http://pages.example:{pages.port}/")
    assert asked == ["pages.example"] * len(pages.paths) == ["pages.example"] * 2
    assert pages.received[-1].headers["host"] == f"pages.example:{pages.port}"


def test_the_next_machine_is_tried_where_one_is_down(
    pages: PageServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.page("/", PAGE)
    resolve_to(monkeypatch, {"pages.example": ["127.0.0.2", "127.0.0.1"]})
    assert get(fetcher, f"http://pages.example:{pages.port}/").size == len(PAGE)


def test_the_certificate_must_be_for_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path / "certificate.pem"
    certificate.write_text(CERTIFICATE)
    resolve_to(monkeypatch, {"pages.example": ["127.0.0.1"], "other.example": ["127.0.0.1"]})
    with page_server(certificate) as pages:
        uri = pages.page("/", PAGE)
        with make(tmp_path, monkeypatch) as fetcher:
            assert "certificate of pages.example is not good: self-signed" in failure(fetcher, uri)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        with make(tmp_path, monkeypatch) as fetcher:
            assert get(fetcher, uri).size == len(PAGE)
            other = uri.replace("pages", "other")
            assert "certificate of other.example is not good" in failure(fetcher, other)
        assert pages.names[-1] == "other.example"
        assert pages.paths == ["/robots.txt", "/"]


def test_a_body_without_end_is_cut(pages: PageServer, fetcher: Fetcher, tmp_path: Path) -> None:
    pages.pages["/endless"] = endless
    pages.pages["/bomb"] = gzip_bomb
    pages.page("/announced", "short", Content_Length=str(10**10))
    for path in ("/endless", "/bomb", "/announced"):
        assert "more than 1 MB" in failure(fetcher, f"{pages.url}{path}")
    assert left_over(tmp_path) == []


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nX-",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;",
    ],
)
def test_a_server_that_drips_is_cut_off_as_a_whole(
    pages: PageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, head: bytes
) -> None:
    pages.pages["/"] = drip(pages, head)
    with make(tmp_path, monkeypatch, seconds=1) as fetcher:
        assert "did not arrive within 1 s" in failure(fetcher, f"{pages.url}/")
    assert left_over(tmp_path) == []


def test_closing_stops_a_fetch_under_way(
    pages: PageServer, fetcher: Fetcher, tmp_path: Path
) -> None:
    reached = threading.Event()

    def wait(handler: BaseHTTPRequestHandler) -> None:
        del handler
        reached.set()
        pages.stopping.wait()

    pages.pages["/"] = wait
    failed: list[str] = []
    thread = threading.Thread(target=lambda: failed.append(failure(fetcher, f"{pages.url}/")))
    thread.start()
    assert reached.wait(20)
    fetcher.close()
    thread.join(20)
    assert len(failed) == 1
    assert list(tmp_path.iterdir()) == []


def raw(data: bytes) -> Callable[[BaseHTTPRequestHandler], None]:
    def send(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(data)

    return send


def test_broken_answers_are_one_line(pages: PageServer, fetcher: Fetcher, tmp_path: Path) -> None:
    pages.page("/long", PAGE, Content_Length=str(len(PAGE) + 9))
    assert "broken" in failure(fetcher, f"{pages.url}/long")
    pages.page("/unpacked", PAGE, Content_Encoding="gzip")
    assert "broken" in failure(fetcher, f"{pages.url}/unpacked")
    pages.page("/brotli", PAGE, Content_Encoding="br")
    assert "packed as br" in failure(fetcher, f"{pages.url}/brotli")
    pages.pages["/nonsense"] = raw(b"what?\r\n\r\n")
    assert "broken" in failure(fetcher, f"{pages.url}/nonsense")
    pages.pages["/silent"] = raw(b"")
    assert "127.0.0.1" in failure(fetcher, f"{pages.url}/silent")
    assert "refuses connections" in failure(fetcher, f"http://127.0.0.1:{closed_port()}/")
    assert "nobody.invalid" in failure(fetcher, "http://nobody.invalid/")
    assert left_over(tmp_path) == []


def test_a_short_content_length_keeps_to_itself(pages: PageServer, fetcher: Fetcher) -> None:
    assert get(fetcher, pages.page("/", PAGE, Content_Length="6")).path.read_text() == "<html>"


def test_packed_pages_are_unpacked(pages: PageServer, fetcher: Fetcher) -> None:
    uri = pages.page("/", gzip.compress(PAGE.encode()), Content_Encoding="gzip")
    assert get(fetcher, uri).path.read_text() == PAGE


@pytest.mark.parametrize(
    ("path", "answer", "name"),
    [
        ("/", ("text/html", PAGE), "index.html"),
        ("/a.php", ("text/html;charset=Shift_JIS", PAGE), "a.html"),
        ("/report.pdf", ("text/html", PAGE), "report.html"),
        ("/report", ("application/pdf", "%PDF-1.4"), "report.pdf"),
        ("/report.pdf", ("application/octet-stream", "%PDF-1.4"), "report.pdf"),
        ("/README.md", ("text/plain", "# Read me"), "README.md"),
        ("/list", ("text/plain", "plain"), "list.txt"),
        ("/api", ("application/json", "{}"), "api.json"),
        ("/x.csv", ("application/x-unheard-of", "a,b"), "x.csv"),
        ("/%2E%2E%2Fpasswd", ("text/html", PAGE), "passwd.html"),
        ("/no-type", ("", PAGE), "no-type.html"),
        ("/no-type", ("", "only words"), "no-type.txt"),
    ],
)
def test_the_content_type_says_what_reads_it(
    pages: PageServer, fetcher: Fetcher, path: str, answer: tuple[str, str], name: str
) -> None:
    content_type, body = answer
    headers = {"Content-Type": content_type} if content_type else {}
    pages.pages[path] = Answer(body=body.encode(), headers=headers)
    assert get(fetcher, f"{pages.url}{path}").name == name


def test_what_nothing_reads_is_not_downloaded(pages: PageServer, fetcher: Fetcher) -> None:
    for content_type, body in (("video/mp4", b"film"), ("image/png", b"x"), ("", b"\x89PNG\0")):
        pages.pages["/film"] = Answer(body=body, headers={"Content-Type": content_type})
        assert "nothing reads" in failure(fetcher, f"{pages.url}/film")


def test_only_what_changed_is_sent_again(pages: PageServer, fetcher: Fetcher) -> None:
    uri = pages.page("/", PAGE, ETag='"one"', Last_Modified="Sat, 21 Nov 2026 09:00:00 GMT")
    page = PageRef(uri=uri, root=uri)
    first = get(fetcher, uri)
    pages.pages["/"] = Answer(status=304)
    assert fetcher.fetch(page, first.validators) is None
    asked = pages.received[-1].headers
    assert asked["if-none-match"] == '"one"'
    assert asked["if-modified-since"] == "Sat, 21 Nov 2026 09:00:00 GMT"
    # What was not asked cannot be answered so.
    assert "304" in failure(fetcher, uri)
    # Another page's ETag says nothing, even where it reads the same.
    pages.page("/moved", PAGE, ETag='"one"')
    pages.redirect("/", "/moved")
    moved = fetcher.fetch(page, first.validators)
    assert moved is not None
    assert "if-none-match" not in pages.received[-1].headers


def test_gone_pages_are_told_from_unreachable_ones(pages: PageServer, fetcher: Fetcher) -> None:
    for path, status in (("/a", 404), ("/b", 410), ("/c", 500), ("/d", 403), ("/e", 204)):
        pages.pages[path] = Answer(status=status)
    with pytest.raises(SourceGoneError, match=r"gone \(404\)"):
        get(fetcher, f"{pages.url}/a")
    with pytest.raises(SourceGoneError, match=r"gone \(410\)"):
        get(fetcher, f"{pages.url}/b")
    assert "500 (internal server error)" in failure(fetcher, f"{pages.url}/c")
    assert "403" in failure(fetcher, f"{pages.url}/d")
    assert "204" in failure(fetcher, f"{pages.url}/e")
    assert fetcher.gone == {f"{pages.url}/a", f"{pages.url}/b"}


def test_robots_txt_is_asked_for_once_and_obeyed(pages: PageServer, fetcher: Fetcher) -> None:
    rules = b"User-agent: *\nDisallow: /\n\nUser-agent: unmoved\nDisallow: /private/\n"
    pages.pages["/robots.txt"] = Answer(body=rules, headers={"Content-Type": "text/plain"})
    pages.page("/private/a", PAGE)
    get(fetcher, pages.page("/open", PAGE))
    assert "forbids" in failure(fetcher, f"{pages.url}/private/a")
    assert "forbids" in failure(fetcher, pages.redirect("/there", "/private/a"))
    assert pages.paths == ["/robots.txt", "/open", "/there"]


@pytest.mark.parametrize("status", [401, 403, 404, 429])
def test_no_robots_txt_means_no_rules(pages: PageServer, fetcher: Fetcher, status: int) -> None:
    pages.pages["/robots.txt"] = Answer(status=status)
    get(fetcher, pages.page("/", PAGE))


def test_rules_that_cannot_be_had_forbid_everything(pages: PageServer, fetcher: Fetcher) -> None:
    pages.pages["/robots.txt"] = Answer(status=503)
    assert "503 for robots.txt" in failure(fetcher, pages.page("/", PAGE))
    assert pages.paths == ["/robots.txt"]


def test_a_host_is_asked_as_slowly_as_it_wants(
    pages: PageServer, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    pages.pages["/robots.txt"] = Answer(body=b"User-agent: *\nCrawl-delay: 3600", headers=HTML)
    waits: list[float | None] = []

    def note(seconds: float | None = None) -> bool:
        waits.append(seconds)
        return False

    monkeypatch.setattr(fetcher._closed, "wait", note)
    for path in ("/a", "/b"):
        get(fetcher, pages.page(path, PAGE))
    assert waits[0] == 0
    assert waits[1] == pytest.approx(30, abs=5)


def test_proxies_and_passwords_of_the_environment_are_not_used(
    pages: PageServer, fetcher: Fetcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    get(fetcher, pages.page("/", PAGE))
    assert "authorization" not in pages.received[-1].headers


def resolve_to(monkeypatch: pytest.MonkeyPatch, hosts: dict[str, list[str]]) -> list[str]:
    """Put names into the resolver; gives the list of those that are asked for."""
    real, asked = socket.getaddrinfo, []

    def look_up(host: Any, port: Any, *args: Any, **options: Any) -> Any:
        if host not in hosts:
            return real(host, port, *args, **options)
        asked.append(host)
        found = (real(ip, port, *args, **options) for ip in hosts[host])
        return [answer for answers in found for answer in answers]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return asked
