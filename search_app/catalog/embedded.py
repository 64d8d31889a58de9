"""PostgreSQL for those who configured none: a server of our own in the data directory.

Whether a server is alive is told by a lock that all of its processes inherit, never by a process
ID. Three lock files lie beside the cluster: ``server.lock``, which the server's processes hold;
``clients.lock``, shared by all who use it; ``start.lock``, held while it is started or stopped.
"""

import os
import shutil
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from search_app.catalog import embedded_server as server
from search_app.catalog.embedded_cluster import (
    check_version,
    create_cluster,
    find_binaries,
    telling,
    unfinished,
)
from search_app.catalog.embedded_place import (
    LOCK_TIMEOUT_S,
    POLL_S,
    Place,
    acquire,
    acquire_server_lock,
    find_place,
    is_alive,
    starting_or_stopping,
)
from search_app.errors import EmbeddedPostgresError


class EmbeddedPostgres:
    """The PostgreSQL server of one data directory, shared by all processes that use it.

    The first to start it launches it, the last to release it stops it. A process that ends without
    ``release`` (killed, or it forgot) counts no longer, but its server runs on until another
    process has come and left. Any number of objects may share a data directory, in one process or
    many. Calls wait; in a coroutine use ``asyncio.to_thread``.

    Args:
        data_dir: folder of the installation; made where it is missing. The cluster is in
            ``data_dir/postgres``, which is a link where root's server could not enter it.
        start_timeout_s: seconds to wait for a server that gives no answer at all. One that says
            that it is recovering from a crash is waited for much longer.
    """

    def __init__(self, data_dir: Path, *, start_timeout_s: float = 120.0) -> None:
        self._data_dir = data_dir.absolute()
        self._start_timeout_s = start_timeout_s
        self._client: tuple[Place, int] | None = None
        self._guard = threading.Lock()

    @property
    def log_path(self) -> Path:
        """The server's log; it quotes no statements. There may be none yet."""
        return self._data_dir / "postgres.log"

    def start(self) -> str:
        """Make sure that the server runs, and count this object as its client.

        May be called again at any time, and brings a server back that has crashed.

        Returns:
            The address of the database ``unmoved`` for SQLAlchemy, always the same.

        Raises:
            EmbeddedPostgresError: it cannot be started; says why and where.
        """
        with self._guard:
            try:
                return self._start()
            except OSError as exc:
                raise _translated(self._data_dir, exc) from exc

    def _start(self) -> str:
        if sys.platform == "win32":
            raise EmbeddedPostgresError(
                "the embedded PostgreSQL needs Linux or macOS; set DATABASE_URL"
            )
        place = self._client[0] if self._client else find_place(self._data_dir)
        with starting_or_stopping(place):
            server.prepare_socket_dir(place)
            server.trim_log(place)
            if not self._answers(place):
                self._launch(place)
            if self._client is None:
                self._client = (place, _join(place))
        return place.url

    def _answers(self, place: Place) -> bool:
        """Wait until the server answers; False where no process of it is alive any more."""
        latest = time.monotonic() + LOCK_TIMEOUT_S
        deadline = time.monotonic() + self._start_timeout_s
        while is_alive(place):
            answer = server.answer(place)
            if answer == "ready":
                return True
            if answer == "starting":
                deadline = min(time.monotonic() + self._start_timeout_s, latest)
            elif server.lost_its_socket(place):
                server.stop(place)
            if time.monotonic() >= deadline:
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL in {place.home} is alive but does not answer; it "
                    "may be ending after a crash, or serve another container or machine; see "
                    f"{place.log}"
                )
            time.sleep(POLL_S)
        return False

    def _launch(self, place: Place) -> None:
        binaries = find_binaries(place.owner)
        exists = check_version(place)
        lock = acquire_server_lock(place)
        if lock is None:
            raise EmbeddedPostgresError(f"another program holds the lock files in {place.home}")
        try:
            if not exists:
                create_cluster(place, binaries, lock=lock)
            logged = place.log.stat().st_size
            server.launch(place, binaries, lock=lock)
        finally:
            os.close(lock)  # the server has inherited it
        self._await(place, logged)

    def _await(self, place: Place, logged: int) -> None:
        try:
            if self._answers(place):
                return
        except BaseException:  # Ctrl-C too must not leave a server that nobody asked for
            server.stop(place)
            raise
        with place.log.open("rb") as log:
            log.seek(logged)
            reason = telling(log.read().decode(errors="replace"))
        raise EmbeddedPostgresError(
            f"the embedded PostgreSQL in {place.home} did not start: {reason}; see {place.log}"
        )

    def release(self) -> None:
        """Say that this object needs the server no longer; the last one out stops it.

        Raises:
            EmbeddedPostgresError: it was to be stopped and is still alive.
        """
        with self._guard:
            if self._client is None:
                return
            place, client = self._client
            self._client = None
            os.close(client)
            try:
                with starting_or_stopping(place):
                    if _unused(place):
                        server.stop(place)
            except OSError as exc:
                raise _translated(self._data_dir, exc) from exc

    def destroy(self) -> None:
        """Release, stop the server and delete the cluster with all that it holds.

        Raises:
            EmbeddedPostgresError: another client uses it, it does not stop or cannot be deleted.
        """
        self.release()
        with self._guard:
            try:
                _destroy(find_place(self._data_dir))
            except OSError as exc:
                raise _translated(self._data_dir, exc) from exc

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Release it."""
        self.release()


def _translated(data_dir: Path, exc: OSError) -> EmbeddedPostgresError:
    place = f": {exc.filename}" if exc.filename else ""
    return EmbeddedPostgresError(
        f"the embedded PostgreSQL in {data_dir} cannot be used: {exc.strerror or exc}{place}"
    )


def _join(place: Place) -> int:
    # Never refused: the exclusive lock is only tried for, and under the start lock that we hold.
    client = acquire(place.home / "clients.lock", shared=True, timeout_s=LOCK_TIMEOUT_S)
    if client is None:
        raise EmbeddedPostgresError(f"another program holds the lock files in {place.home}")
    return client


def _unused(place: Place) -> bool:
    alone = acquire(place.home / "clients.lock")
    if alone is None:
        return False
    os.close(alone)
    return True


def _destroy(place: Place) -> None:
    with starting_or_stopping(place):
        if not _unused(place):
            raise EmbeddedPostgresError(f"the embedded PostgreSQL in {place.home} is in use")
        server.stop(place)
        for path in (place.cluster, place.socket_dir, *unfinished(place)):
            if path.exists():
                shutil.rmtree(path)
        place.log.unlink(missing_ok=True)
        if place.home != place.data_dir:
            place.link.unlink()
            for name in ("clients.lock", "server.lock", "start.lock", "data_dir"):
                (place.home / name).unlink(missing_ok=True)
            with suppress(OSError):  # whoever set the link may keep other things there
                place.home.rmdir()
