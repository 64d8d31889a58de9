"""What both commands share: running a typer application, logging, and saying errors in one line."""

import asyncio
import importlib.metadata
import json
import logging
import os
import re
import signal
import sys
from collections.abc import Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

import typer

from search_app.access.commands import under_way
from search_app.config import Settings
from search_app.errors import UnmovedError
from search_app.tracing import traced
from search_app.types import JSON

T = TypeVar("T")

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

OK, SOME_FAILED, NOTHING_DONE, INTERRUPTED = 0, 1, 2, 130


def run(app: typer.Typer) -> int:
    """Run an application and give its exit code; errors of ours are one line, not a traceback."""
    # Text that came from outside may hold what the terminal's encoding has not.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        with under_way([app.info.name or "", *sys.argv[1:]]):
            app()
    except SystemExit as leaving:
        if leaving.code == INTERRUPTED:
            typer.echo("stopped", err=True)
        return leaving.code if isinstance(leaving.code, int) else OK
    except UnmovedError as exc:
        return fail(str(exc))
    except BrokenPipeError:
        # The reader of our output left, as `head` does; there is nobody to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return OK


def version_option() -> Any:
    """Give the ``--version`` option that the callback of an application takes."""

    def show(asked: bool) -> None:  # noqa: FBT001 - typer's shape of a callback
        if asked:
            typer.echo(f"unmoved {importlib.metadata.version('unmoved')}")
            raise typer.Exit

    return typer.Option(
        "--version", callback=show, is_eager=True, help="Show the version and leave."
    )


def printable(text: str) -> str:
    """Make text from outside harmless to a terminal: control characters become U+FFFD."""
    return _CONTROL.sub("\N{REPLACEMENT CHARACTER}", text)


def fail(reason: str) -> int:
    """Say in one line why nothing could be done, and give the exit code for that."""
    from rich.console import Console
    from rich.text import Text

    line = Text.assemble(("error: ", "bold red"), printable(" ".join(reason.split())))
    Console(stderr=True, soft_wrap=True, highlight=False).print(line)
    return NOTHING_DONE


def wait_for(work: Coroutine[Any, Any, T], settings: Settings, *, spans: bool = False) -> T:
    """Run the work of a command to its end; SIGTERM stops it as Ctrl-C does.

    ``spans``: its stages are traced, where the settings name a collector.

    Raises:
        typer.Exit: it was stopped.
        ConfigurationError: packages are missing that traces need.
    """
    configure_logging(settings.log_level, settings.log_format)

    async def stoppable() -> T:
        task = asyncio.current_task()
        if task is not None and sys.platform != "win32":
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        return await work

    try:
        with traced(settings) if spans else nullcontext():
            return asyncio.run(stoppable())
    except (KeyboardInterrupt, asyncio.CancelledError) as exc:
        raise typer.Exit(INTERRUPTED) from exc
    finally:
        # Where it was not even begun, for want of what it takes; else nothing.
        work.close()


def print_json(value: JSON) -> None:
    """Print one JSON document on standard output, Japanese left readable."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def configure_logging(level: str, form: str = "text") -> None:
    """Write log lines of that level and above to standard error, to be read or as JSON."""
    import structlog

    written: list[structlog.typing.Processor] = (
        [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(ensure_ascii=False, default=str),
        ]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The rich one prints local variables, which may be secrets, and takes seconds.
                exception_formatter=structlog.dev.plain_traceback,
            )
        ]
    )

    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        # Looked up at every line: what standard error was before may be closed by then.
        logger_factory=lambda *_args: structlog.PrintLogger(sys.stderr),
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            *written,
        ],
    )
