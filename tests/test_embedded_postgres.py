"""The embedded server under every fault we could think of, with real processes and real kills."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from search_app.catalog import embedded_cluster, embedded_place, embedded_server
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.catalog.embedded_place import Owner, Place, find_place, is_alive
from search_app.errors import EmbeddedPostgresError

pytestmark = pytest.mark.slow  # real servers, killed

ROOT = os.geteuid() == 0
CLIENT = """
import sys
from pathlib import Path
from search_app.catalog.embedded import EmbeddedPostgres
with EmbeddedPostgres(Path(sys.argv[1])) as server:
    print(server.start(), flush=True)
    sys.stdin.read()
"""
NOBODY = """
import os, sys
from pathlib import Path
import psycopg
from psycopg import pq
from search_app.catalog.embedded import EmbeddedPostgres
from search_app.errors import EmbeddedPostgresError
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
try:
    with EmbeddedPostgres(Path(sys.argv[1])) as server:
        with psycopg.connect(server.start().replace("+psycopg", "")) as connection:
            print(connection.execute("SELECT current_database()").fetchone())
except EmbeddedPostgresError as exc:
    print(exc)
"""

Make = Callable[..., EmbeddedPostgres]
Spawn = Callable[..., subprocess.Popen[str]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make one cluster for the tests that do not care how it came to be."""
    data_dir = tmp_path_factory.mktemp("embedded") / "data"
    server = EmbeddedPostgres(data_dir)
    with server:
        pass
    yield data_dir
    server.destroy()


@pytest.fixture
def make(made: Path) -> Iterator[Make]:
    """Make objects for the server of the cluster that is there; afterwards it must have ended."""
    objects: list[EmbeddedPostgres] = []

    def _make(**options: Any) -> EmbeddedPostgres:
        objects.append(EmbeddedPostgres(made, **options))
        return objects[-1]

    yield _make
    for server in objects:
        server.release()
    assert not is_alive(find_place(made))


@pytest.fixture
def make_new(tmp_path: Path) -> Iterator[Make]:
    """Make objects for a server whose cluster is still to be made; afterwards it is removed."""
    objects: list[EmbeddedPostgres] = []

    def _make(name: str = "data") -> EmbeddedPostgres:
        objects.append(EmbeddedPostgres(tmp_path / name))
        return objects[-1]

    yield _make
    for server in objects:
        server.release()
    for server in objects:
        server.destroy()


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start other processes that use the server until their standard input is closed."""
    with ExitStack() as stack:

        def _spawn(*arguments: object, code: str = CLIENT) -> subprocess.Popen[str]:
            process = subprocess.Popen(
                [sys.executable, "-c", code, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                start_new_session=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield _spawn


def connect(url: str) -> psycopg.Connection[Any]:
    return psycopg.connect(url.replace("+psycopg", ""), autocommit=True)


def ask(url: str, query: str) -> Any:
    with connect(url) as connection:
        row = connection.execute(query).fetchone()
    return row[0] if row else None


def place_of(server: EmbeddedPostgres) -> Place:
    return find_place(server.log_path.parent)


def postmaster(server: EmbeddedPostgres) -> psutil.Process:
    pid = embedded_server.find_postmaster(place_of(server))
    assert pid is not None
    return psutil.Process(pid)


def ended(process: psutil.Process) -> bool:
    # Whoever inherits it may take a moment to read its exit status.
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def url_from(client: subprocess.Popen[str]) -> str:
    assert client.stdout is not None
    line = client.stdout.readline().strip()
    assert line.startswith("postgresql+psycopg://"), client.communicate()
    return line


def leave(client: subprocess.Popen[str]) -> None:
    _, errors = client.communicate(timeout=60)
    assert client.returncode == 0, errors


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, "awaited in vain"
        time.sleep(0.002)


def write_as_owner(place: Place, path: Path, content: bytes) -> None:
    path.write_bytes(content)
    os.chown(path, place.owner.uid, place.owner.gid)


def test_cold_start_warm_start_and_stop(make_new: Make) -> None:
    server = make_new()
    url = server.start()
    assert server.start() == url
    assert ask(url, "SELECT current_database() || ' ' || current_user") == "unmoved unmoved"
    assert ask(url, "SHOW server_encoding") == "UTF8"
    locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = 'unmoved'"
    assert ask(url, locale) == "bC.UTF-8"
    assert ask(url, "SELECT count(*) FROM pg_extension") == 1, "migrations create the rest"
    with connect(url) as connection:
        connection.execute("CREATE EXTENSION vector")
    process, place = postmaster(server), place_of(server)
    assert is_alive(place)
    assert process.uids().real == place.owner.uid != 0
    server.release()
    assert not is_alive(place)
    assert ended(process)
    server.release()
    assert server.start() == url
    assert ask(url, "SELECT '[3,4]'::vector <-> '[0,0]'") == 5


def test_it_is_set_for_its_job_and_deaf_to_the_network(make: Make) -> None:
    url = make().start()
    assert ask(url, "SHOW fsync") == "on"
    assert ask(url, "SHOW jit") == "off"
    assert ask(url, "SHOW max_wal_size") == "4GB"
    assert ask(url, "SHOW listen_addresses") == ""
    assert ask(url, "SHOW unix_socket_permissions") == "0700"
    pages = "SELECT setting::int / 128 FROM pg_settings WHERE name = 'shared_buffers'"
    assert 128 <= ask(url, pages) <= 1024


def test_without_shared_memory_it_uses_files(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_server, "_SHM", Path("/nowhere"))
    monkeypatch.setattr(embedded_server, "_CGROUP_LIMITS", ())
    url = make().start()
    assert ask(url, "SHOW dynamic_shared_memory_type") == "mmap"
    with connect(url) as connection:
        connection.execute("SET debug_parallel_query = on")
        assert connection.execute("SELECT sum(i) FROM generate_series(1, 10) i").fetchone() == (55,)


def test_the_limit_of_a_container_counts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "limit").write_text(f"{512 << 20}\n")
    monkeypatch.setattr(embedded_server, "_CGROUP_LIMITS", (tmp_path / "limit", tmp_path / "no"))
    place = Place(data_dir=tmp_path, home=tmp_path, owner=Owner(uid=1, gid=1))
    chosen = embedded_server.settings(place)
    assert chosen["shared_buffers"] == "128MB"
    assert chosen["maintenance_work_mem"] == "64MB"


@pytest.mark.parametrize(
    "name",
    ['it\'s "quoted" $HOME `id` %s \\ 日本語の 資料', "/".join(["x" * 120] * 3)],
    ids=["strange", "long"],
)
def test_any_path_will_do(name: str) -> None:
    if ROOT and not Owner(uid=65534, gid=65534).can_enter(Path(tempfile.gettempdir())):
        pytest.skip("the folder for temporary files is closed to others")
    # In a folder open to the server's user, or root would keep the cluster elsewhere.
    with tempfile.TemporaryDirectory(prefix="unmoved-test-") as folder:
        Path(folder).chmod(0o711)
        data_dir = Path(folder, name)
        for path in reversed([data_dir, *data_dir.relative_to(folder).parents]):
            Path(folder, path).mkdir(exist_ok=True)
            Path(folder, path).chmod(0o711)
        server = EmbeddedPostgres(data_dir)
        with server:
            assert ask(server.start(), "SHOW data_directory") == str(data_dir / "postgres")
            assert not (data_dir / "postgres").is_symlink()
        server.destroy()


@pytest.mark.parametrize("count", [2, 4])
def test_cold_starts_at_once(make_new: Make, spawn: Spawn, tmp_path: Path, count: int) -> None:
    clients = [spawn(tmp_path / "data") for _ in range(count)]
    urls = {url_from(client) for client in clients}
    assert len(urls) == 1
    place = place_of(make_new())
    for client in clients[1:]:
        leave(client)
        assert is_alive(place)
    assert ask(urls.pop(), "SELECT 1") == 1
    leave(clients[0])
    assert not is_alive(place)


def test_a_short_client_leaves_the_server_to_a_long_one(
    make: Make, spawn: Spawn, made: Path
) -> None:
    server = make()
    with connect(server.start()) as connection:
        short = spawn(made)
        assert url_from(short) == server.start()
        leave(short)
        with make() as other:
            other.start()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_killed_client_counts_no_longer(make: Make, spawn: Spawn, made: Path) -> None:
    client = spawn(made)
    url_from(client)
    client.kill()
    client.wait()
    server = make()
    assert is_alive(place_of(server)), "it runs on until somebody has come and left"
    server.start()
    server.release()
    assert not is_alive(place_of(server))


def test_ctrl_c_ends_clients_only(make: Make, spawn: Spawn, made: Path) -> None:
    first = spawn(made)
    url = url_from(first)  # launched by the process that is interrupted
    server = make()
    assert server.start() == url
    with connect(url) as connection:
        os.killpg(first.pid, signal.SIGINT)
        first.wait(timeout=60)
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_a_killed_server_comes_back_with_all_that_was_committed(make: Make) -> None:
    server = make()
    url = server.start()
    with connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT generate_series(1, 1000) AS n")
        postmaster(server).kill()
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT pg_sleep(60)")
    eventually(lambda: not is_alive(place_of(server)))
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    assert server.start() == url
    assert ask(url, "SELECT count(*) FROM kept") == 1000


def test_a_stale_pid_file_costs_nobody_his_life(make: Make, make_new: Make) -> None:
    server, other = make(), make_new()
    server.start()
    other.start()
    namesake = postmaster(other)  # of the same name and user; only its folder tells them apart
    place = place_of(server)
    rest = (place.cluster / "postmaster.pid").read_bytes().partition(b"\n")[2]
    server.release()
    with subprocess.Popen(["sleep", "600"]) as bystander:
        pid = str(bystander.pid).encode()
        try:
            for stale in (
                pid + b"\n" + rest,
                str(namesake.pid).encode() + b"\n" + rest,
                pid,
                b"",
                b"\x00\xff nonsense\n\n-",
                pid * 9 + b"\n",
                b"-" + pid + b"\n" + rest,
            ):
                write_as_owner(place, place.cluster / "postmaster.pid", stale)
                write_as_owner(place, place.socket_dir / ".s.PGSQL.5432.lock", stale)
                assert ask(server.start(), "SELECT 1") == 1
                # Once more under a living server, which must be found all the same.
                write_as_owner(place, place.cluster / "postmaster.pid", stale)
                server.release()
                assert not is_alive(place)
                assert bystander.poll() is None
                assert namesake.is_running()
        finally:
            bystander.kill()


def test_a_server_started_in_another_way_is_left_alone(make: Make) -> None:
    server = make()
    server.start()
    place = place_of(server)
    server.release()
    binaries = embedded_cluster.find_binaries(place.owner)
    options = ["-c", "listen_addresses=", "-k", str(place.socket_dir)]
    with subprocess.Popen(
        [binaries / "postgres", "-D", place.cluster, *options],
        stderr=subprocess.DEVNULL,
        **place.owner.process_options(),
    ) as foreign:
        eventually((place.socket_dir / ".s.PGSQL.5432").exists)
        with pytest.raises(EmbeddedPostgresError, match=f"process {foreign.pid} already serves"):
            server.start()
        assert foreign.poll() is None
        foreign.send_signal(signal.SIGINT)
    assert ask(server.start(), "SELECT 1") == 1


def test_killed_while_the_cluster_is_made(make_new: Make, spawn: Spawn, tmp_path: Path) -> None:
    client = spawn(tmp_path / "data")
    server = make_new()

    def half_made() -> bool:
        folders = embedded_cluster.unfinished(place_of(server)) if tmp_path.exists() else []
        with suppress(OSError):
            return any((folder / "base").exists() for folder in folders)
        return False

    eventually(half_made)
    client.kill()
    client.wait()
    place = place_of(server)
    assert not place.cluster.exists()
    assert is_alive(place), "initdb goes on, and holds the lock"
    assert ask(server.start(), "SELECT 1") == 1
    assert embedded_cluster.unfinished(place) == []


def test_a_socket_folder_that_was_swept_away_is_made_again(make: Make) -> None:
    server = make()
    url = server.start()
    shutil.rmtree(place_of(server).socket_dir)
    with pytest.raises(psycopg.OperationalError):
        connect(url)
    assert server.start() == url
    assert ask(url, "SELECT 1") == 1


@pytest.mark.parametrize("fault", ["open", "link", "foreign"])
def test_a_socket_folder_that_is_not_ours_is_refused(
    make: Make, tmp_path: Path, fault: str
) -> None:
    server = make()
    place = place_of(server)
    shutil.rmtree(place.socket_dir)
    if fault == "open":
        place.socket_dir.mkdir()
        os.chown(place.socket_dir, place.owner.uid, place.owner.gid)
        place.socket_dir.chmod(0o755)
    elif fault == "link":
        (tmp_path / "target").mkdir(mode=0o700)
        place.socket_dir.symlink_to(tmp_path / "target")
    elif ROOT:
        place.socket_dir.mkdir(mode=0o700)
        os.chown(place.socket_dir, place.owner.uid + 1, place.owner.gid)
    else:
        pytest.skip("only root can make a folder of somebody else")
    try:
        with pytest.raises(EmbeddedPostgresError, match="nobody else may enter"):
            server.start()
    finally:
        if fault == "link":
            place.socket_dir.unlink()
        else:
            place.socket_dir.rmdir()
    assert ask(server.start(), "SELECT 1") == 1


def test_a_cluster_of_another_version_is_refused(make: Make) -> None:
    server = make()
    server.start()
    server.release()
    marker = place_of(server).cluster / "PG_VERSION"
    marker.write_text("16\n")
    with pytest.raises(EmbeddedPostgresError, match=r"PostgreSQL 16, .* PostgreSQL 18.*pg_dump"):
        server.start()
    marker.write_text("18\n")


def test_a_folder_that_is_no_cluster_is_refused(make_new: Make) -> None:
    server = make_new()
    place = place_of(server)
    place.cluster.mkdir(parents=True)
    (place.cluster / "thesis.doc").touch()
    with pytest.raises(EmbeddedPostgresError, match="not a PostgreSQL cluster"):
        server.start()
    assert (place.cluster / "thesis.doc").exists()


def test_a_cluster_may_be_moved_and_linked_to(make_new: Make, tmp_path: Path) -> None:
    server = make_new()
    data_dir = server.log_path.parent
    (tmp_path / "disk").mkdir()
    tmp_path.chmod(0o700)
    data_dir.mkdir()
    (data_dir / "postgres").symlink_to("../disk/pgdata")
    with pytest.raises(EmbeddedPostgresError, match="named postgres"):
        server.start()
    (data_dir / "postgres").unlink()
    (data_dir / "postgres").symlink_to("../disk/postgres")
    assert place_of(server).cluster == (tmp_path / "disk" / "postgres").resolve()
    (tmp_path / "disk" / "other").touch()
    server.destroy()
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["other"]


def test_a_server_that_dies_says_why(make: Make) -> None:
    server = make()
    server.start()
    server.release()
    configuration = place_of(server).cluster / "postgresql.conf"
    sound = configuration.read_text()
    configuration.write_text(f"{sound}\nwork_mem = plenty\n")
    with pytest.raises(EmbeddedPostgresError, match=r"contains errors.*postgres\.log"):
        server.start()
    assert not is_alive(place_of(server))
    configuration.write_text(sound)
    assert ask(server.start(), "SELECT 1") == 1


def test_a_platform_without_programs(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_cluster, "WHEEL", "no_such_wheel")
    with pytest.raises(EmbeddedPostgresError, match=r"no PostgreSQL 18 programs.*DATABASE_URL"):
        make().start()


def test_a_data_directory_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match=f"cannot be used.*{tmp_path / 'file'}"):
        EmbeddedPostgres(tmp_path / "file" / "data").start()


def test_a_server_that_does_not_answer(make: Make) -> None:
    server = make(start_timeout_s=0.2)
    server.start()
    frozen = postmaster(server)
    frozen.suspend()
    try:
        # As in another container: alive, without a socket here.
        shutil.rmtree(place_of(server).socket_dir)
        (place_of(server).cluster / "postmaster.pid").rename(place_of(server).home / "aside")
        with pytest.raises(EmbeddedPostgresError, match="alive but does not answer"):
            server.start()
    finally:
        (place_of(server).home / "aside").rename(place_of(server).cluster / "postmaster.pid")
        frozen.resume()


def test_destroy_spares_what_others_use(make_new: Make) -> None:
    server, other = make_new(), make_new()
    url = server.start()
    other.start()
    with pytest.raises(EmbeddedPostgresError, match="in use"):
        server.destroy()
    assert ask(url, "SELECT 1") == 1
    place, process = place_of(server), postmaster(server)
    other.destroy()
    assert ended(process)
    assert not place.cluster.exists()
    assert not place.socket_dir.exists()


def test_the_log_is_bounded_and_quotes_nothing(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    server = make()
    url = server.start()
    with connect(url) as connection:
        connection.execute("CREATE TEMPORARY TABLE texts (body text UNIQUE)")
        connection.execute("INSERT INTO texts VALUES ('a secret')")
        with pytest.raises(psycopg.errors.UniqueViolation, match="a secret"):
            connection.execute("INSERT INTO texts VALUES ('a secret')")
    assert "duplicate key" in server.log_path.read_text()
    assert "secret" not in server.log_path.read_text()
    monkeypatch.setattr(embedded_server, "LOG_LIMIT", 8_000)
    with server.log_path.open("a") as log:
        log.writelines(f"line {number}\n" for number in range(10_000))
    server.start()
    assert server.log_path.stat().st_size == 1_000
    assert server.log_path.read_text().endswith("line 9999\n")


@pytest.mark.skipif(not ROOT, reason="only root must become somebody else")
def test_root_keeps_the_cluster_where_its_server_can_reach_it() -> None:
    with tempfile.TemporaryDirectory() as folder:  # closed to others, as /root is
        data_dir = Path(folder, "data")
        data_dir.mkdir(mode=0o700)
        server = EmbeddedPostgres(data_dir)
        ask(server.start(), "SELECT 1")
        place = place_of(server)
        assert (data_dir / "postgres").readlink() == place.cluster
        assert place.home.parent == embedded_place.SYSTEM_DIR
        assert server.log_path.exists()
        server.release()
        assert place_of(EmbeddedPostgres(data_dir)) == place
        server.destroy()
        assert not place.home.exists()
        assert not (data_dir / "postgres").is_symlink()
        (data_dir / "postgres").symlink_to(place.cluster)
        with pytest.raises(EmbeddedPostgresError, match="which is gone"):
            server.start()


@pytest.mark.skipif(not ROOT, reason="only root must become somebody else")
def test_programs_out_of_reach_are_copied(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = make()
    owner = place_of(server).owner
    package = embedded_cluster.find_binaries(owner).parents[1]
    for source in (package, package.with_name(f"{package.name}.libs")):
        if source.exists():
            shutil.copytree(source, tmp_path / source.name)
    tmp_path.chmod(0o700)
    monkeypatch.syspath_prepend(str(tmp_path))
    with tempfile.TemporaryDirectory(prefix="unmoved-test-") as system:
        Path(system).chmod(0o755)
        monkeypatch.setattr(embedded_cluster, "SYSTEM_DIR", Path(system))
        found = [embedded_cluster.find_binaries(owner) for _ in range(2)]
        assert found[0] == found[1]
        assert found[0].is_relative_to(system)
        assert ask(server.start(), "SELECT 1") == 1
        assert len(list(Path(system).iterdir())) == 1
        server.release()


@pytest.mark.skipif(not ROOT, reason="the other tests do this where they do not run as root")
def test_as_an_ordinary_user(make: Make, spawn: Spawn) -> None:
    nobody = Owner(uid=65534, gid=65534)
    binaries = embedded_cluster.find_binaries(place_of(make()).owner)
    if embedded_place.SYSTEM_DIR in binaries.parents or not nobody.can_enter(binaries):
        pytest.skip("the environment is in a folder closed to ordinary users")
    with tempfile.TemporaryDirectory(prefix="unmoved-test-") as folder:
        os.chown(folder, nobody.uid, nobody.gid)
        output, errors = spawn(folder, str(nobody.uid), code=NOBODY).communicate(timeout=60)
        assert (output, errors) == ("('unmoved',)\n", "")
        # What belongs to a user is served as that user, also when root starts it.
        with EmbeddedPostgres(Path(folder)) as server:
            assert postmaster(server).uids().real == nobody.uid
        output, errors = spawn(folder, str(nobody.uid), code=NOBODY).communicate(timeout=60)
        assert (output, errors) == ("('unmoved',)\n", "")
        server.destroy()
        Path(folder).chmod(0o500)
        output, errors = spawn(folder, str(nobody.uid), code=NOBODY).communicate(timeout=60)
        assert "cannot be used: Permission denied" in output, errors
        server.destroy()
