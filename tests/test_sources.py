import os
import socket
import stat
import sys
import tempfile
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeGuard

import pytest

from ingest.sources import discover, roots
from ingest.types import Skipped, SourceRef
from search_app.errors import InvalidInputError, SourceError

bytes_are_names = pytest.mark.skipif(
    sys.platform == "darwin", reason="this file system changes or refuses such names"
)


def write(path: Path, text: str = "text") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def found(*arguments: object) -> list[str]:
    return [ref.uri for ref in discover([str(a) for a in arguments]) if isinstance(ref, SourceRef)]


def errors(*arguments: object) -> dict[str, str]:
    every = discover([str(argument) for argument in arguments])
    return {error.source: error.reason for error in every if isinstance(error, SourceError)}


def skipped(*arguments: object) -> dict[str, str]:
    every = discover([str(argument) for argument in arguments])
    return {one.uri: one.kind for one in every if isinstance(one, Skipped)}


def below(folder: Path, paths: Sequence[str]) -> list[str]:
    return [str(Path(path).relative_to(folder)) for path in paths]


def test_a_folder_is_walked_to_the_bottom_in_order_of_names(tmp_path: Path) -> None:
    for name in ("b.md", "a/z.txt", "a/b/c.html", "a.md", "日本/資料.md"):
        write(tmp_path / name)
    expected = ["a/b/c.html", "a/z.txt", "a.md", "b.md", "日本/資料.md"]
    assert below(tmp_path, found(tmp_path)) == expected
    assert errors(tmp_path) == {}


def test_a_reference_carries_what_the_file_was(tmp_path: Path) -> None:
    path = write(tmp_path / "a.md", "four")
    (ref,) = discover([str(tmp_path)])
    assert isinstance(ref, SourceRef)
    assert ref == SourceRef(
        name=path.name,
        uri=str(path),
        path=path,
        root=str(tmp_path),
        size=4,
        mtime_ns=path.stat().st_mtime_ns,
    )


def test_relative_arguments_become_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "docs/a.md")
    monkeypatch.chdir(tmp_path)
    absolute = str(tmp_path / "docs/a.md")
    assert found("docs") == found("./docs/") == found("docs/../docs/a.md") == [absolute]
    assert roots(["docs", "docs/*.md"]) == [str(tmp_path / "docs")] * 2


def test_parent_of_a_link_is_the_parent_of_its_target(tmp_path: Path) -> None:
    write(tmp_path / "real/a.md")
    (tmp_path / "real/inner").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real/inner")
    assert found(f"{tmp_path}/link/../a.md") == [str(tmp_path / "real/a.md")]


def test_hidden_entries_and_caches_are_passed_over_unless_named(tmp_path: Path) -> None:
    hidden = [".git/a.md", ".b.md", "node_modules/c.md", "__pycache__/d.md", "x.egg-info/e.md"]
    for name in (*hidden, "seen.md"):
        write(tmp_path / name)
    assert below(tmp_path, found(tmp_path)) == ["seen.md"]
    assert errors(tmp_path) == {}
    for name in hidden:
        assert found(tmp_path / name) == [str(tmp_path / name)]
    assert found(tmp_path / ".git") == [str(tmp_path / ".git/a.md")]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("docs/*.md", ["docs/a.md"]),
        ("docs/**/*.md", ["docs/a.md", "docs/x/b.md", "docs/x/y/c.md"]),
        ("**/y/*", ["docs/x/y/c.md"]),
        ("docs/x/**", ["docs/x/b.md", "docs/x/y/c.md"]),
        ("docs/?.[mt]*", ["docs/a.md", "docs/d.txt"]),
        ("d*/x", ["docs/x/b.md", "docs/x/y/c.md"]),
        ("docs/**/**/c.md", ["docs/x/y/c.md"]),
    ],
)
def test_patterns(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    for name in ("docs/a.md", "docs/d.txt", "docs/x/b.md", "docs/x/y/c.md", "docs/.h/e.md"):
        write(tmp_path / name)
    write(tmp_path / "docs/picture.png")
    assert below(tmp_path, found(tmp_path / pattern)) == expected


TREE = ("a.md", "a.log", "drafts/b.md", "drafts/old/c.md", "x/drafts/d.md", "x/old/e.md")


@pytest.mark.parametrize(
    ("exclude", "left"),
    [
        (["*.log"], [*TREE[:1], *TREE[2:]]),
        (["drafts"], ["a.log", "a.md", "x/old/e.md"]),
        (["drafts/"], ["a.log", "a.md", "x/old/e.md"]),
        (["/drafts"], ["a.log", "a.md", "x/drafts/d.md", "x/old/e.md"]),
        (["x/drafts"], ["a.log", "a.md", "drafts/b.md", "drafts/old/c.md", "x/old/e.md"]),
        (["drafts/*.md"], ["a.log", "a.md", "drafts/old/c.md", "x/drafts/d.md", "x/old/e.md"]),
        (["**/old/*.md"], ["a.log", "a.md", "drafts/b.md", "x/drafts/d.md"]),
        (["*/old"], ["a.log", "a.md", "drafts/b.md", "x/drafts/d.md"]),
        (["drafts/**"], ["a.log", "a.md", "x/drafts/d.md", "x/old/e.md"]),
        (["a.md/"], [*TREE]),
        (["old", "[ab].md"], ["a.log", "x/drafts/d.md"]),
        (["OLD"], [*TREE]),
    ],
)
def test_exclusions(tmp_path: Path, exclude: list[str], left: list[str]) -> None:
    for name in TREE:
        write(tmp_path / name)
    refs = [ref.uri for ref in discover([str(tmp_path)], exclude=exclude) if is_file(ref)]
    assert below(tmp_path, refs) == sorted(left, key=lambda name: name.split("/"))


def is_file(found: object) -> TypeGuard[SourceRef]:
    return isinstance(found, SourceRef)


def test_exclusions_count_from_where_an_argument_begins_and_not_for_what_it_names(
    tmp_path: Path,
) -> None:
    inner = write(tmp_path / "drafts/inner/drafts/a.md")
    (tmp_path / "drafts/gone.md").symlink_to(tmp_path / "nowhere")
    exclude = ["drafts", "gone.md"]
    assert list(discover([str(inner)], exclude=exclude)) == list(discover([str(inner)]))
    (nothing,) = discover([str(tmp_path / "drafts")], exclude=exclude)
    assert isinstance(nothing, SourceError)
    assert nothing.reason == "nothing to ingest in it"
    (one,) = discover([f"{tmp_path}/*/inner/**/*.md"], exclude=["inner/drafts/b.md"])
    assert is_file(one)
    assert one.uri == str(inner)


def test_an_excluded_name_is_the_same_however_its_accents_are_written(tmp_path: Path) -> None:
    write(tmp_path / unicodedata.normalize("NFD", "がぎ.md"))
    write(tmp_path / "b.md")
    for form in ("NFC", "NFD"):
        refs = discover([str(tmp_path)], exclude=[unicodedata.normalize(form, "が*.md")])
        assert [ref.uri for ref in refs if is_file(ref)] == [str(tmp_path / "b.md")]


@pytest.mark.parametrize("typed", ["", "/", "./", "../x", "a/../b"])
def test_exclusions_that_stand_for_nothing_are_refused(tmp_path: Path, typed: str) -> None:
    with pytest.raises(InvalidInputError, match="cannot exclude"):
        list(discover([str(tmp_path)], exclude=[typed]))


def test_a_file_with_pattern_characters_in_its_name_is_itself(tmp_path: Path) -> None:
    write(tmp_path / "a[1]*.md")
    write(tmp_path / "a1.md")
    assert found(tmp_path / "a[1]*.md") == [str(tmp_path / "a[1]*.md")]


def test_what_matches_nothing_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "a.md")
    assert errors(tmp_path / "empty") == {str(tmp_path / "empty"): "nothing to ingest in it"}
    assert errors(tmp_path / "*.rst") == {str(tmp_path / "*.rst"): "matches no file"}
    assert errors(tmp_path / "no/*.md") == {str(tmp_path / "no/*.md"): "no such file or folder"}
    assert errors(tmp_path / "no.md") == {str(tmp_path / "no.md"): "no such file or folder"}
    assert errors("a\0b") == {"a\0b": "no such file or folder"}
    write(tmp_path / "pictures/a.png")
    (folder, pattern) = (str(tmp_path / "pictures"), str(tmp_path / "pictures/*.png"))
    assert errors(folder) == {folder: "nothing to ingest in it, 1 skipped"}
    assert errors(pattern) == {pattern: "matches no file, 1 skipped"}


def test_a_path_is_found_once_however_many_arguments_reach_it(tmp_path: Path) -> None:
    first, second = write(tmp_path / "a/one.md"), write(tmp_path / "a/two.md")
    os.link(first, tmp_path / "a/three.md")
    three = str(tmp_path / "a/three.md")
    assert found(tmp_path / "a", first, tmp_path / "**/*.md") == [str(first), three, str(second)]
    assert found(first, tmp_path, first) == [str(first), three, str(second)]
    write(tmp_path / "a/x.png")
    assert list(skipped(tmp_path, tmp_path / "a")) == [str(tmp_path / "a/x.png")]


def test_hard_links_are_two_names_of_one_text(tmp_path: Path) -> None:
    first = write(tmp_path / "first.md")
    os.link(first, tmp_path / "second.md")
    assert below(tmp_path, found(tmp_path)) == ["first.md", "second.md"]


def test_links_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    write(tmp_path / "real/a.md")
    (tmp_path / "real/up").symlink_to(tmp_path)
    (tmp_path / "alias").symlink_to(tmp_path / "real")
    (tmp_path / "one.md").symlink_to(tmp_path / "real/a.md")
    (tmp_path / "nowhere.md").symlink_to(tmp_path / "gone")
    (tmp_path / "itself.md").symlink_to(tmp_path / "itself.md")
    assert below(tmp_path, found(tmp_path)) == ["alias/a.md", "one.md", "real/a.md"]
    assert skipped(tmp_path) == {
        str(tmp_path / "alias/up"): "link back",
        str(tmp_path / "real/up"): "link back",
    }
    reasons = {Path(uri).name: reason for uri, reason in errors(tmp_path).items()}
    assert reasons["nowhere.md"] == "a link to nothing"
    assert "symbolic links" in reasons["itself.md"]
    assert errors(tmp_path / "nowhere.md") == {str(tmp_path / "nowhere.md"): "a link to nothing"}


def test_special_files_are_skipped_unless_they_are_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    # A socket's path must be short, so that it is bound by its name alone.
    with socket.socket(socket.AF_UNIX) as bound:
        here = Path.cwd()
        os.chdir(tmp_path)
        bound.bind("socket.md")
        os.chdir(here)
    names = [str(tmp_path / "pipe.md"), str(tmp_path / "socket.md")]
    assert skipped(tmp_path) == dict.fromkeys(names, "no file")
    assert errors(*names) == {
        names[0]: "not a file but a named pipe",
        names[1]: "not a file but a socket",
    }
    assert errors("/dev/null") == {"/dev/null": "not a file but a device"}


def test_unknown_types_are_skipped_unless_they_are_named(tmp_path: Path) -> None:
    picture, noname = write(tmp_path / "picture.PNG"), write(tmp_path / "noname")
    write(tmp_path / "README")
    write(tmp_path / "LOUD.MD")
    assert below(tmp_path, found(tmp_path)) == ["LOUD.MD", "README"]
    assert skipped(tmp_path) == {str(picture): ".png", str(noname): "no suffix"}
    reasons = {Path(uri).name: reason for uri, reason in errors(picture, noname).items()}
    assert reasons["picture.PNG"].startswith("unknown type .PNG; supported: text, Markdown")
    assert reasons["noname"].startswith("unknown type (no suffix)")


@bytes_are_names
def test_names_of_all_kinds(tmp_path: Path) -> None:
    names = ["new\nline.md", "😀.md", "e\u0301.md", "é.md", "x" * 252 + ".md", " .md"]
    names += ["資" * 84 + ".md", "\u202eשלום.md", "مرحبا.md", "-rf.md", "a'b\"c.md", "[x]*.md"]
    for name in names:
        write(tmp_path / name)
    assert sorted(below(tmp_path, found(tmp_path))) == sorted(names)
    for name in names:
        assert found(tmp_path / name) == [str(tmp_path / name)]


@bytes_are_names
def test_a_name_that_is_not_utf8_is_reported_so_that_it_can_be_stored(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.md")).write_text("x", encoding="utf-8")
    write(tmp_path / "fine.md")
    assert below(tmp_path, found(tmp_path)) == ["fine.md"]
    assert errors(tmp_path) == {f"{tmp_path}/caf\\xe9.md": "its name is not valid UTF-8; rename it"}


def test_folders_deeper_than_python_has_frames(tmp_path: Path) -> None:
    here = Path.cwd()
    os.chdir(tmp_path)
    for _ in range(1500):
        Path("d").mkdir()
        os.chdir("d")
    Path("a.md").write_text("x", encoding="utf-8")
    os.chdir(here)
    assert len(found(tmp_path)) == 1


def test_finding_begins_before_it_ends(tmp_path: Path) -> None:
    for number in range(3):
        write(tmp_path / f"{number}.md")
    stream = discover([str(tmp_path)])
    next(stream)
    (tmp_path / "1.md").unlink()
    rest = list(stream)
    assert isinstance(rest[0], SourceError)
    assert rest[0].reason == "vanished before it could be read"
    assert isinstance(rest[1], SourceRef)


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder that an ordinary user may read, and such a user, since root may read anything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
        for path in folder.rglob("*"):
            path.chmod(stat.S_IRWXU)


def test_what_may_not_be_read_is_reported_and_the_rest_goes_on(unprivileged: Path) -> None:
    write(unprivileged / "shut/a.md")
    write(unprivileged / "z.md")
    (unprivileged / "shut").chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        every = list(discover([str(unprivileged)]))
    finally:
        os.seteuid(user)
    assert [type(item) for item in every] == [SourceError, SourceRef]
    assert isinstance(every[0], SourceError)
    assert every[0].reason == "no permission to read it"
