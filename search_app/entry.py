"""Where the command search-app begins, before the imports that take the most of a second."""

import importlib
import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Run the command search-app."""
    enter("search_app.cli")


def enter(module: str) -> None:
    """Import the module of a command and run its ``main``; Ctrl-C is one line from the start.

    Until there is something to stop, the process just leaves: an exception in the middle of an
    import is not always passed on as what it was.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        # Whoever started us wants it otherwise, nohup for one.
        importlib.import_module(module).main()
        return
    signal.signal(signal.SIGINT, _leave)
    command = importlib.import_module(module).main
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        command()
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        sys.exit(INTERRUPTED)


def _leave(_: int, __: FrameType | None) -> None:
    sys.stderr.write("stopped\n")
    sys.stderr.flush()
    os._exit(INTERRUPTED)
