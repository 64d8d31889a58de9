"""The embedded server's processes: settings, start, proof of identity, stop."""

import os
import re
import signal
import stat
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import psutil

from search_app.catalog.embedded_place import (
    DATABASE,
    POLL_S,
    PORT,
    Place,
    is_alive,
    open_private,
)
from search_app.errors import EmbeddedPostgresError

STOP_TIMEOUT_S = 120.0
"""Seconds a shutdown may take: its checkpoint writes every changed page to the disk."""

SIGNAL_AGAIN_S = 5.0
"""Seconds after which the request to stop is repeated; one in the first instant is lost."""

LOG_LIMIT = 8 << 20
"""Bytes of log above which a start cuts it to its last eighth."""

_MIB = 1 << 20
_PID = re.compile(r"[1-9][0-9]{0,8}")
_SHM = Path("/dev/shm")  # noqa: S108  only its size is asked for
_CGROUP_LIMITS = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)


def settings(place: Place) -> dict[str, str]:
    """Choose the server's settings for this machine, afresh at every start."""
    memory = _memory() // _MIB
    maintenance = min(max(memory // 16, 64), 512)
    cores = os.cpu_count() or 1
    return {
        "listen_addresses": "",
        "unix_socket_directories": str(place.socket_dir),
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "max_connections": "100",
        "shared_buffers": f"{min(max(memory // 8, 128), 1024)}MB",
        "effective_cache_size": f"{max(memory // 2, 256)}MB",
        "maintenance_work_mem": f"{maintenance}MB",
        "max_wal_size": "4GB",
        "max_worker_processes": "16",
        "max_parallel_maintenance_workers": str(min(cores, 8) if cores > 1 else 0),
        "random_page_cost": "1.1",
        "jit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
        "log_autovacuum_min_duration": "-1",
        # Statements and details of errors quote documents, which have no business in a log.
        "log_min_error_statement": "panic",
        "log_error_verbosity": "terse",
    } | _shared_memory(2 * maintenance * _MIB)


def _shared_memory(needed: int) -> dict[str, str]:
    """Parallel index builds share memory in /dev/shm, of which containers have 64 MB."""
    if _SHM.is_dir():
        space = os.statvfs(_SHM)
        if space.f_bavail * space.f_frsize >= needed:
            return {}
    elif not Path("/proc").is_dir():  # macOS keeps such memory elsewhere
        return {}
    return {"dynamic_shared_memory_type": "mmap"}


def _memory() -> int:
    """Give the bytes of memory that this machine or container may use."""
    sizes = [psutil.virtual_memory().total]
    for limit in _CGROUP_LIMITS:
        with suppress(OSError, ValueError):  # absent, or the word max
            sizes.append(int(limit.read_text(encoding="utf-8")))
    return min(sizes)


def prepare_socket_dir(place: Place) -> None:
    """Make the socket's folder, or check the one that is there: /tmp is open to everybody.

    Raises:
        EmbeddedPostgresError: somebody else owns it or may enter it.
        OSError: it cannot be made.
    """
    folder, owner = place.socket_dir, place.owner
    with suppress(FileExistsError):
        folder.mkdir(mode=0o700)
    if folder.lstat().st_uid == 0 == os.geteuid():
        os.chown(folder, owner.uid, owner.gid, follow_symlinks=False)
    found = folder.lstat()
    if (
        not stat.S_ISDIR(found.st_mode)
        or found.st_uid != owner.uid
        or stat.S_IMODE(found.st_mode) & 0o077
    ):
        raise EmbeddedPostgresError(
            f"{folder} must be a folder of the system user {owner.uid} that nobody else may "
            f"enter, but belongs to {found.st_uid} with mode {stat.S_IMODE(found.st_mode):o}; "
            "remove it, or have it removed"
        )


def launch(place: Place, binaries: Path, *, lock: int) -> None:
    """Start the server in a session of its own, out of reach of Ctrl-C; does not wait for it.

    Args:
        place: whose cluster to serve.
        binaries: folder of PostgreSQL's programs.
        lock: descriptor of the server's lock, which every process of the server inherits.

    Raises:
        EmbeddedPostgresError: somebody started a server on this cluster in another way.
        OSError: it cannot be started.
    """
    _remove_stale_files(place)
    options = [f"{name}={value}" for name, value in settings(place).items()]
    server = [str(binaries / "postgres"), "-D", str(place.cluster)]
    arguments = [*server, *(part for option in options for part in ("-c", option))]
    log = open_private(place.log, os.O_WRONLY | os.O_APPEND)
    try:
        # The shell leaves at once, so that the server is nobody's child and never a zombie here.
        subprocess.run(
            ["/bin/sh", "-c", '"$@" &', "sh", *arguments],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=[lock],
            **place.owner.process_options(),
        )
    finally:
        os.close(log)


def _remove_stale_files(place: Place) -> None:
    """Remove what a killed server left; its process ID may by now be anybody's.

    PostgreSQL would refuse to start while that ID is in use. Called with the server's lock held,
    when no server of ours is alive.
    """
    foreign = find_postmaster(place)
    if foreign is not None:
        raise EmbeddedPostgresError(
            f"process {foreign} already serves {place.cluster} and was not started by this "
            "program; stop it with pg_ctl stop"
        )
    (place.cluster / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (place.socket_dir / name).unlink(missing_ok=True)


def _pid_file(place: Place) -> list[str]:
    try:
        text = (place.cluster / "postmaster.pid").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    return [line.strip() for line in text.splitlines()]


def find_postmaster(place: Place) -> int | None:
    """Find the server's main process; the file that names it is a hint, never the proof."""
    hint = [int(line) for line in _pid_file(place)[:1] if _PID.fullmatch(line)]
    return next((pid for pid in (*hint, *psutil.pids()) if _is_postmaster(pid, place)), None)


def _is_postmaster(pid: int, place: Place) -> bool:
    try:
        process = psutil.Process(pid)
        if process.name() != "postgres" or process.uids().real != place.owner.uid:
            return False
        # Its children overwrite their arguments with a title. The folder is compared by argument
        # first, as containers forbid even root to read the working directory of another user.
        _, option, folder = process.cmdline()[:3]
        cluster = str(place.cluster)
        return option == "-D" and (folder == cluster or process.cwd() == cluster)
    except (psutil.Error, ValueError):
        return False


def lost_its_socket(place: Place) -> bool:
    """Say whether the server runs but cannot be reached: its socket was removed, or it moved."""
    ready = _pid_file(place)[7:8] == ["ready"]
    socket = place.socket_dir / f".s.PGSQL.{PORT}"
    return ready and not socket.exists() and find_postmaster(place) is not None


def stop(place: Place) -> None:
    """Stop the server, if one is alive, and wait for the end of its last process.

    Connections are cut, what they have committed is kept. A process that is not proven to be
    this place's server gets no signal.

    Raises:
        EmbeddedPostgresError: it is still alive after `STOP_TIMEOUT_S`.
    """
    deadline = time.monotonic() + STOP_TIMEOUT_S
    signal_at = 0.0
    while is_alive(place):
        now = time.monotonic()
        if now >= deadline:
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL in {place.home} does not stop; see {place.log}"
            )
        if now >= signal_at:
            _interrupt(place)
            signal_at = now + SIGNAL_AGAIN_S
        time.sleep(POLL_S)


def _interrupt(place: Place) -> None:
    """Ask the server for a fast shutdown (SIGINT)."""
    pid = find_postmaster(place)
    if pid is None:
        return  # it has gone meanwhile, or is on another machine: wait for its lock
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        if not hasattr(os, "pidfd_open"):
            psutil.Process(pid).send_signal(signal.SIGINT)
            return
        descriptor = os.pidfd_open(pid)
        try:
            # Looked at again: from here on the ID cannot pass to another process unnoticed.
            if _is_postmaster(pid, place):
                signal.pidfd_send_signal(descriptor, signal.SIGINT)
        finally:
            os.close(descriptor)


def trim_log(place: Place) -> None:
    """Cut a log that has grown too long to its last part; the server appends, so it may run on."""
    descriptor = open_private(place.log, os.O_RDWR | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        if size > LOG_LIMIT:
            kept = os.pread(descriptor, LOG_LIMIT // 8, size - LOG_LIMIT // 8)
            os.ftruncate(descriptor, 0)
            os.write(descriptor, kept)
    finally:
        os.close(descriptor)


def answer(place: Place) -> str:
    """Ask the server how it is: ``ready``, ``starting`` (or stopping), or ``silent``."""
    from psycopg import pq
    from psycopg.conninfo import make_conninfo

    address = make_conninfo(
        host=str(place.socket_dir), port=PORT, user=DATABASE, dbname=DATABASE, connect_timeout=5
    )
    known = {pq.Ping.OK: "ready", pq.Ping.REJECT: "starting"}
    return known.get(pq.Ping(pq.PGconn.ping(address.encode())), "silent")
