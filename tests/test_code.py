"""Source code: its definitions, how it is cut, its lines, and files that do not parse."""

import itertools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from bs4 import BeautifulSoup
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ingest import loaders
from ingest.chunker import chunk
from ingest.loaders import grammars
from ingest.loaders.outline import MOST_SYMBOLS, outline_of
from ingest.parsing import ParserPool
from ingest.parsing.wire import pack, unpack
from ingest.pipeline import IngestRequest, ingest
from ingest.plan import layout_of, with_layout
from ingest.types import ChunkSpan, LoadedDocument, LoadOptions, Outline, SourceRef
from search_app.bootstrap import Services
from search_app.catalog.chunks import Passage
from search_app.catalog.cutting import StoredDocument
from search_app.retrieval import SearchRequest
from search_app.types import Chunking, CodePlace, DocumentRef
from search_app.web.app import create_app
from search_app.web.code import code_lines
from tests.test_chunker import Words, check

PYTHON = '''"""Tides."""

import math

LIMIT = 3


# Reads a table.
@cached
class Table(Base):
    """Of one port."""

    @property
    def height(self):
        def inner(): ...
        return inner

    async def low(self): ...


def main() -> None:
    print("é")
'''
SOURCES = {
    "tides.py": (
        PYTHON,
        {"class Table 8", "method Table.height 13", "method Table.low 18", "function main 21"},
    ),
    "a.ts": (
        """import x from 'y';
export interface Port { name: string }
/** Adds. */
export const add = (a: number) => a + 1;
export default class Bar<T> extends Baz {
  handler = () => { return 1; };
  @log()
  run(): void {}
}
namespace N { export function f() {} }
""",
        {
            "interface Port 2",
            "function add 3",
            "class Bar 5",
            "method Bar.handler 6",
            "method Bar.run 7",
            "namespace N 10",
            "function N.f 10",
        },
    ),
    "a.jsx": (
        "module.exports.go = function () {};\nfunction App() { return <p>x</p>; }\n",
        {"function module.exports.go 1", "function App 2"},
    ),
    "server.go": (
        """package web

// Server serves.
type Server[T any] struct{ a int }

// Serve é starts.
func (s *Server[T]) Serve(x int) error { return nil }

func main() {}
""",
        {"type Server 3", "method Server.Serve 6", "function main 9"},
    ),
    "point.rs": (
        """use std::io;

/// A point.
#[derive(Debug)]
pub struct Point { x: i32 }

impl fmt::Display for Point<T> {
    fn fmt(&self) {}
}
mod inner {
    fn deep() {}
}
macro_rules! m { () => {} }
""",
        {
            "struct Point 3",
            "impl Point 7",
            "method Point.fmt 8",
            "namespace inner 10",
            "function inner.deep 11",
            "macro m 13",
        },
    ),
    "A.java": (
        """package com.example;

/** Doc. */
@Deprecated
public class A {
  /** Makes. */
  public A(int x) {}
  enum E { X; void f() {} }
}
record P(int a) {}
""",
        {"class A 3", "method A.A 6", "enum A.E 8", "method A.E.f 8", "class P 10"},
    ),
    "a.c": (
        """#define TWICE(a) ((a) * 2)
typedef struct { int a; } thing_t;
static char *name(struct thing *t) { return 0; }
""",
        {"macro TWICE 1", "struct thing_t 2", "function name 3"},
    ),
    "a.h": (
        "namespace ns {\ntemplate <typename T>\nclass Vec {\n  ~Vec() {}\n};\n}\n",
        {"namespace ns 1", "class ns.Vec 2", "method ns.Vec.~Vec 4"},
    ),
    "a.cpp": (
        "int Shop::open(int hour) { return hour; }\nbool operator==(A a, A b) { return true; }\n",
        {"function Shop.open 1", "function operator== 2"},
    ),
}
CODE = Chunking(max_tokens=64)


def outline(name: str, text: str) -> Outline:
    found = outline_of(name, f"/home/code/{name}", text)
    assert found is not None
    return found


def listed(text: str, found: Outline) -> set[str]:
    return {
        f"{one.kind} {'.'.join(one.path)} {text.count(chr(10), 0, one.start) + 1}"
        for one in found.symbols
    }


def source(path: Path) -> SourceRef:
    status = path.stat()
    return SourceRef(
        uri=path.as_posix(),
        path=path,
        name=path.name,
        root=path.as_posix(),
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
    )


def code(text: str, name: str = "tides.py") -> LoadedDocument:
    return LoadedDocument(
        uri=f"/home/code/{name}",
        source=f"/home/code/{name}",
        title=name,
        titled=False,
        text=text,
        language="und",
        media_type="python",
        structure="code",
        outline=outline_of(name, f"/home/code/{name}", text),
    )


def cut(text: str, name: str = "tides.py", limit: int = 64) -> list[ChunkSpan]:
    spans = chunk(code(text, name), Chunking(max_tokens=limit), Words())
    check(text, spans, Chunking(max_tokens=limit), Words())
    return spans


def names(span: ChunkSpan) -> Sequence[str]:
    assert span.code is not None
    return [name for name, _ in span.code.symbols]


@pytest.mark.parametrize("name", SOURCES)
def test_definitions_are_found_with_what_stands_above_them(name: str) -> None:
    text, wanted = SOURCES[name]
    found = outline(name, text)
    assert listed(text, found) == wanted
    assert not found.note


def test_modules_are_named_as_their_language_does() -> None:
    named = {name: outline(name, text).module for name, (text, _) in SOURCES.items()}
    assert named["tides.py"] == "tides"
    assert named["server.go"] == "web"
    assert named["A.java"] == "com.example"
    package = outline_of("__init__.py", "/home/code/ports/__init__.py", "def f(): ...\n")
    assert package is not None
    assert package.module == "ports"


def test_other_languages_have_no_outline() -> None:
    assert outline_of("a.rb", "/a.rb", "def f; end") is None


def test_a_syntax_error_is_noted_and_the_rest_is_told_apart() -> None:
    text = "def f():\n    return 1\n\n\ndef g(:\n    pass\n\n\ndef h():\n    return 2\n"
    found = outline("a.py", text)
    assert found.note == "syntax error in line 5"
    assert {"function f 1", "function h 9"} <= listed(text, found)


def test_what_a_macro_breaks_costs_nothing_of_what_is_before_it() -> None:
    # Of the whole file no tree can be made, as its parser says, since `T` takes a type.
    sound = "".join(
        f"/* Adds {number}. */\nstatic int add{number}(int a) {{\n    return a + {number};\n}}\n\n"
        for number in range(6)
    )
    broken = 'int load(void) {\n    T(qw, "q.w", const block *)  T(qb, "q.b", const float *)\n}\n'
    found = outline("a.c", sound + broken)
    assert found.note.startswith("syntax error in line")
    named = listed(sound + broken, found)
    assert {f"function add{number} {5 * number + 1}" for number in range(6)} <= named


def test_pieces_beyond_counting_are_not_looked_into() -> None:
    text = 'T(qw, "q.w", const block *)\n' * 2000
    assert outline("a.c", text).note.startswith("is no C from line")


def test_what_is_no_code_is_cut_by_its_layout() -> None:
    prose = "It was a dark and stormy night; the rain fell in torrents.\n\n" * 20
    found = outline("a.py", prose)
    assert not found.symbols
    assert found.note.startswith("is no Python from line")
    assert cut(prose, "a.py")


def test_what_a_program_made_is_cut_by_its_layout() -> None:
    text = "".join(f"def f{number}(): ...\n" for number in range(MOST_SYMBOLS + 1))
    assert outline("a.py", text) == Outline(note="has more than 20,000 functions and classes")


def test_without_the_packages_the_layout_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.loaders.outline.is_installed", lambda _: False)
    monkeypatch.setattr("ingest.loaders.registry.is_installed", lambda _: False)
    found = outline("tides.py", PYTHON)
    assert found == Outline(note="Python is not parsed: install unmoved[code]")
    ref = SourceRef(uri="/a.py", path=Path("/a.py"), name="a.py", root="/", size=1, mtime_ns=0)
    assert loaders.loader_version(ref) == "code/2"
    assert not loaders.is_isolated(ref)


def test_files_are_read_again_with_another_grammar() -> None:
    ref = SourceRef(uri="/a.py", path=Path("/a.py"), name="a.py", root="/", size=1, mtime_ns=0)
    assert loaders.loader_version(ref).startswith("code/4/tree-sitter=")
    assert "/tree-sitter-python=" in loaders.loader_version(ref)
    assert loaders.is_isolated(ref)


def test_every_grammar_has_its_query() -> None:
    for suffix in grammars.PARSED_SUFFIXES:
        for grammar in grammars.grammars_of(f"a{suffix}"):
            assert grammars.compiled(grammar)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("deep.py", "(" * 50_000 + ")" * 50_000),
        ("deep.js", "function f(){" * 20_000 + "}" * 20_000),
        ("open.c", "{" * 100_000),
        ("deep.rs", "mod a {" * 20_000),
        ("classes.py", "".join("  " * depth + f"class A{depth}:\n" for depth in range(500))),
        ("nothing.py", "\x01\x02\x7f\ufeff\ufffd\u2028 def f(): ..."),
        ("crlf.py", PYTHON.replace("\n", "\r\n")),
    ],
)
def test_hostile_code_is_cut_whole(name: str, text: str) -> None:
    cut(text, name)


def test_definitions_are_chunks_and_the_rest_has_its_own() -> None:
    body = "    total = alpha + beta * gamma - delta\n" * 6
    head = "import math\nimport os\nimport re\nfrom a import b, c, d, e, f, g, h\n"
    text = f"{head}\n\ndef one():\n{body}\n\ndef two():\n{body}"
    spans = cut(text)
    assert [names(span) for span in spans] == [[], ["tides.one"], ["tides.two"]]
    assert [span.heading_path for span in spans] == [
        ("tides",),
        ("tides", "one"),
        ("tides", "two"),
    ]
    places = [span.code for span in spans]
    assert [(place.first_line, place.last_line) for place in places if place] == [
        (1, 4),
        (7, 13),
        (16, 22),
    ]


def test_a_class_is_whole_where_it_fits_and_else_its_methods() -> None:
    method = "    def {name}(self):\n" + "        return self.alpha + self.beta\n" * 3
    text = "class Port:\n" + "\n".join(method.format(name=name) for name in ("east", "west"))
    assert [names(span) for span in cut(text, limit=200)] == [["tides.Port"]]
    parted = cut(text, limit=40)
    assert [names(span) for span in parted][-1] == ["tides.Port.west"]
    assert parted[-1].heading_path == ("tides", "Port", "west")


def test_small_functions_share_a_passage_that_names_them() -> None:
    spans = cut("def one():\n    return 1\n\n\ndef two():\n    return 2\n", limit=80)
    assert [names(span) for span in spans] == [["tides.one", "tides.two"]]


def test_a_long_function_is_cut_and_each_part_says_of_what() -> None:
    text = "def long():\n" + "".join(f"    step_{number} = {number}\n" for number in range(60))
    spans = cut(text, limit=40)
    assert len(spans) > 3
    assert {tuple(names(span)) for span in spans} == {("tides.long",)}
    assert {span.heading_path for span in spans} == {("tides", "long")}


def test_an_index_of_before_is_cut_as_before() -> None:
    document = code(PYTHON)
    old = replace(CODE, version=2)
    unknown = replace(document, outline=None)
    before = chunk(document, old, Words())
    assert [(one.start, one.end) for one in before] == [
        (one.start, one.end) for one in chunk(unknown, old, Words())
    ]
    assert [one.start for one in before] != [one.start for one in chunk(document, CODE, Words())]
    assert CODE.name != old.name


STATEMENTS = st.sampled_from(
    [
        *("import os\n", "x = 1\n", "# note\n", "\n", "\n\n", "@dec\n", "é = '日本語'\n", "}\n"),
        *("def f(a, b):\n    return a\n", "class A:\n    def g(self):\n        pass\n", "def (:\n"),
        *(
            "func F() {}\n",
            "fn f() { 1 }\n",
            "int f(int a) { return a; }\n",
            "class B { m() {} }\n",
        ),
        *("  \t", "function f(){}", "/* c */ ", "// x\n", '"""', "\r\n", "\x0c", "template <T>\n"),
    ]
)


@given(
    text=st.lists(st.one_of(STATEMENTS, st.text(max_size=8)), max_size=40).map("".join),
    name=st.sampled_from(["a.py", "a.ts", "a.js", "a.go", "a.rs", "A.java", "a.h", "a.cpp"]),
    limit=st.integers(min_value=4, max_value=60),
)
@settings(max_examples=300, deadline=None)
def test_chunks_are_the_whole_of_any_code_and_their_lines_are_right(
    text: str, name: str, limit: int
) -> None:
    text = text.encode(errors="replace").decode()
    if not text.strip():
        return
    spans = cut(text, name, limit)
    covered: set[int] = set()
    for span in spans:
        assert span.code is not None
        stripped = text[span.start : span.end].strip()
        begin = span.start + text[span.start : span.end].index(stripped)
        assert span.code.first_line == text.count("\n", 0, begin) + 1
        assert span.code.last_line == span.code.first_line + stripped.count("\n")
        covered.update(range(span.code.first_line, span.code.last_line + 1))
    blank = {number for number, line in enumerate(text.split("\n"), 1) if not line.strip()}
    assert set(range(1, text.count("\n") + 2)) - blank <= covered
    symbols = outline(name, text).symbols
    for one, other in itertools.combinations(symbols, 2):
        apart = one.end <= other.start or other.end <= one.start
        within = one.start <= other.start and other.end <= one.end
        assert apart or within


def test_an_outline_comes_back_from_the_parser_and_from_the_catalog() -> None:
    document = code(PYTHON)
    assert unpack(pack([document])) == [document]
    stored = StoredDocument(
        id=UUID(int=1),
        uri=document.uri,
        source=document.source,
        title=document.title,
        language=document.language,
        media_type=document.media_type,
        fields={"meta": {}},
        content_hash=b"",
        layout=layout_of(document),
        text=document.text,
    )
    assert with_layout(stored, document.text) == document


def test_what_its_parser_cannot_do_is_indexed_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "slow.py"
    path.write_text(PYTHON, encoding="utf-8")
    ref = source(path)
    found = loaders.load_code_unparsed(
        ref, "takes longer than 120 s to read", expected_hash=loaders.content_hash(ref)
    )
    assert isinstance(found, LoadedDocument)
    assert found.text == PYTHON
    assert found.outline == Outline(note="cannot be parsed: takes longer than 120 s to read")


def test_code_is_parsed_in_a_process_of_its_own(tmp_path: Path) -> None:
    path = tmp_path / "tides.py"
    path.write_text(PYTHON, encoding="utf-8")
    pool = ParserPool(workers=1)
    try:
        (found,) = pool.submit(source(path), LoadOptions())
    finally:
        pool.close()
    assert isinstance(found, LoadedDocument)
    assert listed(PYTHON, found.outline or Outline()) == SOURCES["tides.py"][1]


async def test_code_is_found_with_its_lines(services: Services, tmp_path: Path) -> None:
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "tides.py").write_text(PYTHON, encoding="utf-8")
    (folder / "broken.py").write_text("It was a dark and stormy night.\n" * 5, encoding="utf-8")
    report = await ingest(services, IngestRequest(arguments=[str(folder)], collection="code"))
    assert (report.documents.added, report.documents.failed) == (2, 0)
    result = await services.searcher.search(
        SearchRequest(query="stormy night", collection="code", mode="keyword")
    )
    place = result.hits[0].code
    assert place is not None
    assert (place.first_line, place.symbols) == (1, ())
    found = await services.searcher.search(
        SearchRequest(query="Table height inner", collection="code", mode="keyword")
    )
    place = found.hits[0].code
    assert place is not None
    assert "tides.Table" in {name.rpartition(".height")[0] or name for name, _ in place.symbols}
    # What moves without changing has other lines.
    (folder / "tides.py").write_text("\n\n\n" + PYTHON, encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(folder)], collection="code"))
    again = await services.searcher.search(
        SearchRequest(query="Table height inner", collection="code", mode="keyword")
    )
    moved = again.hits[0].code
    assert moved is not None
    assert moved.first_line == place.first_line + 3


async def test_pages_show_lines_that_can_be_linked_to(services: Services, tmp_path: Path) -> None:
    path = tmp_path / "tides.py"
    path.write_text(PYTHON.replace("Of one port.", "<b>Of</b> one port."), encoding="utf-8")
    await ingest(services, IngestRequest(arguments=[str(path)], collection="default"))
    app = create_app(services.settings, services)
    with TestClient(app, base_url="http://localhost") as client:
        found = BeautifulSoup(client.get("/", params={"q": "table height"}).text, "html.parser")
        hit = found.select_one("li.hit")
        assert hit is not None
        assert "tides.Table" in hit.get_text()
        (lines,) = hit.select("a[href*='#L']")
        assert lines.get_text().startswith("lines ")
        assert hit.select_one("pre.code-lines .tok-keyword") is not None
        assert hit.select_one("mark") is not None
        address = str(lines["href"])
        page = BeautifulSoup(client.get(address).text, "html.parser")
        assert page.select_one(f"#{address.partition('#')[2]}") is not None
        numbers = [str(each["data-line"]) for each in page.select(".code-number")]
        shown = PYTHON.split("\n")
        assert set(numbers) >= {str(n) for n, line in enumerate(shown, 1) if line.strip()}
        ids = [each["id"] for each in page.select(".code-number[id]")]
        assert len(ids) == len(set(ids))
        assert page.select_one("pre b") is None
        document = client.get(f"/api/v1/documents/{address.split('/')[2].partition('?')[0]}").json()
        assert document["note"] is None
        symbols = [one["name"] for each in document["chunks"] for one in each["code"]["symbols"]]
        assert any(name.startswith("tides.Table") for name in symbols)


def test_marks_and_tokens_lie_over_each_other() -> None:
    passage = Passage(
        chunk_id=UUID(int=1),
        document=DocumentRef(
            id=UUID(int=2),
            uri="u",
            source="s",
            title="t",
            language="en",
            media_type="python",
        ),
        text='\n    def tide(self):\r\n        return "a <tide> & more"\n\n',
        heading_path=(),
        page=None,
        ordinal=0,
        code=CodePlace(first_line=7, last_line=8),
    )
    first, second = code_lines(passage, "tide")
    assert (first.number, second.number) == (7, 8)
    texts = [
        BeautifulSoup(f"<pre>{line.text}</pre>", "html.parser").get_text()
        for line in (first, second)
    ]
    assert texts == ["    def tide(self):", '        return "a <tide> & more"']
    assert "<mark>tide</mark>" in first.text
    assert "<tide>" not in second.text
