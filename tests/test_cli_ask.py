"""`search-app ask` and `search-app answers` as people and scripts run them."""

import json
from pathlib import Path

from tests.test_cli import folder
from tests.test_cli_why import Run, run

__all__ = ["folder", "run"]


def test_questions_are_answered_shown_again_and_compared(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    open_to_all = {"UNMOVED_ANSWER_THRESHOLD": "0"}
    first = next(path for path in sorted(folder.rglob("*")) if path.suffix == ".md")
    words = " ".join(first.read_text(encoding="utf-8").split()[:8])
    told = run("search-app", "ask", words, **open_to_all)
    assert told.returncode == 0, told.stderr
    assert "[1]" in told.stdout
    assert "answered · extractive" in told.stdout
    found = run("search-app", "ask", words, "--json", **open_to_all)
    answer = json.loads(found.stdout)
    assert answer["sentences"][0]["state"] == "quoted"
    beginning = answer["id"][:8]
    assert beginning in run("search-app", "answers", "list").stdout
    again = json.loads(run("search-app", "answers", "show", beginning, "--json").stdout)
    assert again == answer
    assert answer["sentences"][0]["text"] in run("search-app", "answers", "show", beginning).stdout
    same = run("search-app", "answers", "show", beginning, "--compare", **open_to_all)
    assert "the same places are cited" in same.stdout
    compared = run(
        *("search-app", "ask", words, "--compare", answer["index_id"][:8], "--json"), **open_to_all
    )
    assert json.loads(compared.stdout)["changed"] is False
    followed = run("search-app", "ask", "and then?", "--after", beginning, **open_to_all)
    assert "searched for: and then?" in followed.stdout


def test_what_cannot_be_meant_is_one_line(run: Run, folder: Path) -> None:
    run("ingest", "add", str(folder))
    for arguments, says in (
        (("ask", " "), "the question is empty"),
        (("ask", "x" * 100_000), "at most 2,000"),
        (("ask", "x", "--generator", "oracle"), "not known"),
        (("ask", "x", "--generator", "chat:m"), "UNMOVED_CHAT_API_KEY"),
        (("ask", "x", "--after", "zz"), "no answer 'zz'"),
        (("answers", "show", "0000"), "no answer"),
        (("answers", "models"), "UNMOVED_CHAT_API_KEY"),
    ):
        ended = run("search-app", *arguments)
        assert ended.returncode == 2, arguments
        assert says in ended.stderr
        assert ended.stderr.startswith("error: ")
