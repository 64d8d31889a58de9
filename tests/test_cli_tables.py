"""Tables of commands: what goes into a file or a pipe is never cut off."""

import pytest

from ingest.cli.tables import print_table


def test_no_cell_is_cut_off_where_there_is_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, reason = "/notes/" + "n" * 300, "r" * 300
    print_table(["source", "reason"], [[path, reason], ["a.md", "empty"]], empty="nothing")
    head, first, second = capsys.readouterr().out.splitlines()
    assert head.split() == ["source", "reason"]
    assert first.split() == [path, reason]
    assert second.split() == ["a.md", "empty"]
