"""Where the embedded server lives: its folders, its system user, its files and locks."""

import hashlib
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from search_app.errors import EmbeddedPostgresError

SYSTEM_DIR = Path("/var/lib/unmoved")
"""Where root puts what the server's unprivileged user cannot reach elsewhere."""

DATABASE = "unmoved"
"""Name of the superuser and of the one database."""

PORT = 5432
"""Only part of the socket's name; given in every address, or PGPORT would be used instead."""

POLL_S = 0.02
"""Seconds between two looks at something awaited."""

LOCK_TIMEOUT_S = 1800.0
"""Seconds to wait for another process that starts or stops the server: recovery may be long."""

_UNPRIVILEGED = ("postgres", "nobody")


@dataclass(frozen=True, kw_only=True)
class Owner:
    """The system user that owns the cluster and runs the server."""

    uid: int
    gid: int

    def process_options(self) -> dict[str, Any]:
        """Give the arguments of ``subprocess`` that start a program as this user."""
        # A clean environment: PGDATA, PGOPTIONS or a translated LC_MESSAGES would be obeyed.
        environment = {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
        options: dict[str, Any] = {"cwd": "/", "env": environment, "umask": 0o077}
        if os.geteuid() == 0:
            options |= {"user": self.uid, "group": self.gid, "extra_groups": []}
        return options

    def can_enter(self, folder: Path) -> bool:
        """Say whether this user can reach what is in ``folder``, by really trying."""
        attempt = ["/bin/sh", "-c", 'test -x "$1"', "sh", str(folder)]
        return subprocess.run(attempt, check=False, **self.process_options()).returncode == 0


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the server of one installation lives. ``home`` holds the cluster and its locks."""

    data_dir: Path
    home: Path
    owner: Owner

    @property
    def cluster(self) -> Path:
        """PostgreSQL's own data directory."""
        return self.home / "postgres"

    @property
    def link(self) -> Path:
        """The cluster, or what points to it where it is kept elsewhere."""
        return self.data_dir / "postgres"

    @property
    def log(self) -> Path:
        """The server's log."""
        return self.data_dir / "postgres.log"

    @property
    def socket_dir(self) -> Path:
        """Folder of the server's socket; short, since the path of a socket ends at 103 bytes."""
        return Path(f"/tmp/unmoved-{self.owner.uid}-{digest(os.fsencode(self.home))}")  # noqa: S108  a fixed place on purpose, and its owner and mode are checked before use

    @property
    def url(self) -> str:
        """The address for SQLAlchemy."""
        host = quote(str(self.socket_dir), safe="")
        return f"postgresql+psycopg://{DATABASE}@/{DATABASE}?host={host}&port={PORT}"


def digest(content: bytes) -> str:
    """Shorten something to 16 hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()[:16]


def has_database(data_dir: Path) -> bool:
    """Say whether a data directory has a cluster; changes nothing."""
    return os.path.lexists(data_dir / "postgres")


def find_place(data_dir: Path) -> Place:
    """Decide where the cluster of ``data_dir`` lives and who runs it; makes missing folders.

    As root, the server runs as the user that owns the cluster or the data directory, else as
    ``postgres`` or ``nobody``. Where that user cannot reach the data directory, the cluster is
    kept below `SYSTEM_DIR` and ``data_dir/postgres`` is a link to it.

    Raises:
        EmbeddedPostgresError: no such user, or a cluster that it cannot reach.
        OSError: a folder cannot be made or read.
    """
    if not data_dir.is_dir():
        data_dir.mkdir(parents=True, exist_ok=True)
        # Made here, so ours to open: root's server runs as somebody else, who must get through.
        data_dir.chmod(0o711 if os.geteuid() == 0 else 0o700)
    data_dir = data_dir.resolve()
    owner = _choose_owner(data_dir)
    return Place(data_dir=data_dir, home=_choose_home(data_dir, owner), owner=owner)


def _choose_owner(data_dir: Path) -> Owner:
    if os.geteuid() != 0:
        return Owner(uid=os.geteuid(), gid=os.getegid())
    import pwd  # missing on Windows, where this module is imported though never used

    cluster, folder = data_dir / "postgres", data_dir.stat()
    if cluster.exists() and cluster.stat().st_uid != 0:
        return Owner(uid=cluster.stat().st_uid, gid=cluster.stat().st_gid)
    if folder.st_uid != 0:
        with suppress(KeyError):  # initdb refuses a user without a name
            return Owner(uid=folder.st_uid, gid=pwd.getpwuid(folder.st_uid).pw_gid)
    for name in _UNPRIVILEGED:
        with suppress(KeyError):
            user = pwd.getpwnam(name)
            return Owner(uid=user.pw_uid, gid=user.pw_gid)
    raise EmbeddedPostgresError(
        "PostgreSQL refuses to run as root, and there is neither a user postgres nor nobody; "
        "run as another user or set DATABASE_URL"
    )


def _choose_home(data_dir: Path, owner: Owner) -> Path:
    link = data_dir / "postgres"
    if link.is_symlink():
        return _linked_home(link)
    if os.geteuid() != 0 or owner.can_enter(data_dir):
        return data_dir
    if link.exists():
        raise EmbeddedPostgresError(
            f"the system user {owner.uid} owns {link} but may not enter {data_dir}; "
            "let it in (chmod o+x on the folders above) or move the data"
        )
    return _home_elsewhere(link, owner)


def _linked_home(link: Path) -> Path:
    target = link.parent / link.readlink()
    if target.name != link.name:
        raise EmbeddedPostgresError(
            f"{link} points to {target}; it may only point to a folder that is named {link.name}"
        )
    if not target.parent.is_dir():
        raise EmbeddedPostgresError(
            f"{link} points to {target}, which is gone; restore it, or remove the link to begin "
            "with an empty database"
        )
    return target.parent.resolve()


def _home_elsewhere(link: Path, owner: Owner) -> Path:
    """Make a home below `SYSTEM_DIR` and link to it; of two that try at once, one prevails."""
    SYSTEM_DIR.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Never named by the path alone: a data directory made anew in the same place is another.
    prefix = f"{digest(os.fsencode(link.parent))}-"
    home = Path(tempfile.mkdtemp(prefix=prefix, dir=SYSTEM_DIR))
    home.chmod(0o711)
    if not owner.can_enter(home):
        home.rmdir()
        raise EmbeddedPostgresError(
            f"the system user {owner.uid} can reach neither {link.parent} nor {SYSTEM_DIR}; "
            f"let it pass with: chmod o+x {SYSTEM_DIR}"
        )
    try:
        link.symlink_to(home / "postgres")
    except FileExistsError:
        home.rmdir()
        return _linked_home(link)
    except BaseException:
        home.rmdir()
        raise
    # For whoever finds it here and wonders whose it is.
    (home / "data_dir").write_bytes(os.fsencode(link.parent) + b"\n")
    return home


def open_private(path: Path, flags: int) -> int:
    """Open or make a file that only its owner may read; what root makes belongs as its folder.

    Links are refused, for root may be at work in somebody else's folder.

    Raises:
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, flags | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    if os.geteuid() == 0:
        folder = path.parent.stat()
        os.fchown(descriptor, folder.st_uid, folder.st_gid)
    return descriptor


def acquire(path: Path, *, shared: bool = False, timeout_s: float = 0.0) -> int | None:
    """Lock a file; the kernel frees it when the last copy of the descriptor is closed.

    Returns:
        The descriptor, or None where others held the lock for all of ``timeout_s``.

    Raises:
        OSError: the file cannot be opened.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        descriptor = open_private(path, os.O_RDWR)
        if _lock(descriptor, shared=shared) and _is_file(path, descriptor):
            return descriptor
        os.close(descriptor)
        if time.monotonic() >= deadline:
            return None
        time.sleep(POLL_S)


def _lock(descriptor: int, *, shared: bool) -> bool:
    import fcntl  # missing on Windows, where this module is imported though never used

    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_file(path: Path, descriptor: int) -> bool:
    """Say whether the descriptor is still the file of that name; a removed one locks nobody out."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


@contextmanager
def starting_or_stopping(place: Place) -> Iterator[None]:
    """Hold the lock under which servers of this place are started and stopped.

    Raises:
        EmbeddedPostgresError: another process kept it for half an hour.
        OSError: the lock file cannot be opened.
    """
    descriptor = acquire(place.home / "start.lock", timeout_s=LOCK_TIMEOUT_S)
    if descriptor is None:
        raise EmbeddedPostgresError(
            f"another process has been starting or stopping the embedded PostgreSQL in "
            f"{place.home} for {LOCK_TIMEOUT_S:.0f} s; end it and try again"
        )
    try:
        yield
    finally:
        os.close(descriptor)


def acquire_server_lock(place: Place) -> int | None:
    """Take the lock that every process of the server inherits; None while one is alive."""
    return acquire(place.home / "server.lock")


def is_alive(place: Place) -> bool:
    """Say whether any process of this place's server is alive; no process ID is believed."""
    descriptor = acquire_server_lock(place)
    if descriptor is None:
        return True
    os.close(descriptor)
    return False
