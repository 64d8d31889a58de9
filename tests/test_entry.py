"""Ctrl-C while a command is still importing is one line, like later."""

import subprocess
import sys

import pytest

INTERRUPTED_BY = """
import os, signal, sys
# Whoever runs the tests in the background has it ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
class Finder:
    @staticmethod
    def find_spec(name, *_):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
from {package}.entry import main
sys.argv[1:] = {arguments!r}
main()
"""


@pytest.mark.parametrize(
    ("package", "module", "arguments"),
    [
        ("ingest", "typer", ["add", "nowhere"]),
        ("ingest", "pydantic_settings", ["add", "nowhere"]),
        ("ingest", "ingest.pipeline", ["add", "nowhere"]),
        ("ingest", "sqlalchemy", ["add", "nowhere"]),
        ("search_app", "typer", ["config"]),
        ("search_app", "search_app.retrieval", ["search", "x"]),
    ],
)
def test_ctrl_c_during_imports_is_one_line(package: str, module: str, arguments: list[str]) -> None:
    code = INTERRUPTED_BY.format(package=package, module=module, arguments=arguments)
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped\n")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    code = (
        "import signal, sys; signal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        "from search_app.entry import main\n"
        "sys.argv = ['search-app', '--version']\n"
        "try:\n"
        "    main()\n"
        "finally:\n"
        "    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
