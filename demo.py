"""Ingest real documents and search them, with the same commands that anybody types.

The documents are this project's manual, English and Japanese, and the README texts of the Python
packages that it stands on. Run by `make demo`; everything goes into UNMOVED_DATA_DIR.
"""

import importlib.metadata
import os
import re
import subprocess
import sys
from email.message import Message
from pathlib import Path
from typing import cast

ROOT = Path(__file__).parent
BIN = Path(sys.executable).parent

SEARCHES = (
    ("why can the same text get a different vector tomorrow", ()),
    ("取り込みを途中で止めたらどうなりますか", ("--filter", "language=ja")),
    # The first has no word of what it finds; the second's meaning is nobody's guess.
    ("how do I stop a robot from reading my site", ("--filter", "folder=packages")),
    ("preferred_host", ()),
)


def main() -> int:
    """Write the READMEs out, ingest, search, say what was done."""
    data = Path(os.environ.get("UNMOVED_DATA_DIR", ROOT / ".data")).absolute()
    packages = data / "demo" / "packages"
    written = write_readmes(packages)
    print(f"Wrote the READMEs of {written} installed packages to {packages}", flush=True)
    command("ingest", "add", str(ROOT / "docs"), str(packages), "--prune")
    for query, options in SEARCHES:
        command("search-app", "search", query, "--k", "3", *options)
    command("ingest", "status")
    print(f"\nEverything is in {data}; `make serve` shows the same in a browser.")
    return 0


def write_readmes(folder: Path) -> int:
    """Write the long description of each package that unmoved needs to a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    written = 0
    for name in sorted(requirements("unmoved")):
        metadata = cast("Message", importlib.metadata.metadata(name))
        text = metadata.get("Description") or str(metadata.get_payload() or "")
        if len(text.strip()) > 0:
            kind = str(metadata.get("Description-Content-Type", "text/x-rst"))
            suffix = "md" if "markdown" in kind else "rst"
            (folder / f"{name}.{suffix}").write_text(text, encoding="utf-8")
            written += 1
    return written


def requirements(name: str) -> set[str]:
    """Name the packages that a package asks for directly, extras aside."""
    asked = importlib.metadata.requires(name) or []
    names = (re.match(r"[A-Za-z0-9._-]+", line) for line in asked if "extra ==" not in line)
    return {match[0] for match in names if match is not None}


def command(program: str, *arguments: str) -> None:
    """Show a command and run it; the demo ends where one fails."""
    shown = " ".join(f'"{part}"' if " " in part else part for part in (program, *arguments))
    print(f"\n$ {shown}", flush=True)
    subprocess.run([BIN / program, *arguments], check=True)


if __name__ == "__main__":
    sys.exit(main())
