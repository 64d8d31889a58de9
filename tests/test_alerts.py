"""Alerts: real receivers and mail servers; what is told, once, and what becomes of failures."""

import asyncio
import hashlib
import hmac
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from ingest.pipeline import IngestRequest, ingest
from search_app.alerts import telling
from search_app.alerts.message import body, of_check, subject
from search_app.alerts.telling import deliver, note, overdue, send_test, tend
from search_app.bootstrap import Services
from search_app.catalog import alerts, checks
from search_app.catalog.engine import reading
from search_app.config import Settings, load_settings
from search_app.consistency.checking import check
from search_app.consistency.subject import CheckRequest
from search_app.errors import ConfigurationError
from tests.catalog_dump import connect
from tests.hook_server import HookServer, hook_server
from tests.mail_server import MailServer, mail_server
from tests.page_server import CERTIFICATE

BIN = Path(sys.executable).parent
SECRET = "shared secret"


@pytest.fixture
def hook() -> Iterator[HookServer]:
    with hook_server() as server:
        yield server


@pytest.fixture
def post() -> Iterator[MailServer]:
    with mail_server(MailServer()) as server:
        yield server


@pytest.fixture
async def notes(services: Services, tmp_path: Path) -> Services:
    """Give a collection that was checked once, which comes to no conclusion."""
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.md").write_text(f"# Note {number}\n\nTides of day {number}.\n")
    await ingest(services, IngestRequest(arguments=[str(folder)]))
    await check(services, CheckRequest(collection="default"))
    return services


def reconfigured(services: Services, **changes: Any) -> Services:
    """Give services over the same database with other settings."""
    made = Services(services.settings.model_copy(update=changes), services.engine)
    made._embedders = services._embedders
    return made


def with_hook(services: Services, hook: HookServer, **changes: Any) -> Services:
    return reconfigured(services, alert_webhook_url=SecretStr(hook.url), **changes)


def mailing(post: MailServer, **more: Any) -> dict[str, Any]:
    return {
        "smtp_host": "127.0.0.1",
        "smtp_port": post.port,
        "smtp_security": "none",
        "alert_mail_from": "unmoved@example.org",
        "alert_mail_to": "ann@example.org, bob@example.org",
        **more,
    }


def change(services: Services, statement: str) -> None:
    assert services.settings.database_url is not None
    with connect(services.settings.database_url.get_secret_value()) as connection:
        connection.execute(statement)


FAILED = """
    UPDATE checks SET verdict = 'fail', report = report || '{"verdict": "fail",
        "sentence": "Rankings moved: 7 queries changed.\\nBcc: eve@example.org",
        "causes": [{"name": "model swap", "confirmed": true, "evidence": "潮 moved",
                    "remedy": "pin the model"}]}'
"""


async def found(services: Services) -> list[alerts.Alert]:
    async with reading(services.engine) as connection:
        return await alerts.listing(connection)


async def test_a_failed_check_is_told_once_on_every_way(
    notes: Services, hook: HookServer, post: MailServer
) -> None:
    change(notes, FAILED)
    told = with_hook(
        notes,
        hook,
        public_url="https://search.example.org",
        alert_webhook_secret=SecretStr(SECRET),
        **mailing(post),
    )
    attempts = await tend(told)
    assert sorted((each.channel, each.problem) for each in attempts) == [
        ("mail", None),
        ("webhook", None),
    ]
    (posted,) = hook.posted
    expected = hmac.new(SECRET.encode(), posted.content, hashlib.sha256).hexdigest()
    assert posted.headers["x-unmoved-signature"] == f"sha256={expected}"
    assert posted.headers["content-type"].startswith("application/json")
    async with reading(notes.engine) as connection:
        (made,) = await checks.listing(connection)
    payload = posted.payload
    assert payload["schema"] == 1
    assert (payload["kind"], payload["collection"]) == ("fail", "default")
    assert (payload["check_id"], payload["verdict"]) == (str(made.id), "fail")
    assert payload["sentence"].startswith("Rankings moved")
    assert payload["causes"][0]["name"] == "model swap"
    assert payload["link"] == f"https://search.example.org/checks/{made.id}"
    (mail,) = post.mails
    assert post.recipients == [["ann@example.org", "bob@example.org"]]
    # What a model or a document put into the sentence begins no header of its own.
    assert mail["Bcc"] is None
    assert mail["Subject"].startswith("[Unmoved] FAIL default: Rankings moved")
    assert payload["id"] in mail["Message-ID"]
    text = mail.get_content()
    assert mail.get_content_type() == "text/plain"
    assert "Cause (confirmed): model swap" in text
    assert "潮 moved" in text
    assert payload["link"] in text
    assert await tend(told) == []
    assert len(hook.posted) == len(post.mails) == 1
    (alert,) = await found(notes)
    assert {(way.channel, way.status) for way in alert.deliveries} == {
        ("webhook", "sent"),
        ("mail", "sent"),
    }


async def test_other_verdicts_and_old_failures_are_not_told(
    notes: Services, hook: HookServer
) -> None:
    told = with_hook(notes, hook)
    assert await tend(told) == []
    change(notes, FAILED)
    change(notes, "UPDATE checks SET created_at = now() - interval '25 hours'")
    assert await tend(told) == []
    assert hook.posted == []


async def test_without_a_way_nothing_is_kept(notes: Services) -> None:
    change(notes, FAILED)
    assert await tend(notes) == []
    assert await found(notes) == []


@pytest.mark.parametrize("status", [500, 404, 302])
async def test_what_is_not_taken_is_tried_again_and_never_swallowed(
    notes: Services, hook: HookServer, status: int
) -> None:
    hook.status = status
    change(notes, FAILED)
    told = with_hook(notes, hook)
    (attempt,) = await tend(told)
    assert attempt.problem is not None
    assert f"HTTP {status}" in attempt.problem
    (way,) = (await found(notes))[0].deliveries
    assert (way.status, way.attempts, way.reason) == ("waiting", 1, attempt.problem)
    # Not due yet.
    assert await tend(told) == []
    hook.status = 204
    change(notes, "UPDATE alert_deliveries SET due_at = now()")
    (attempt,) = await tend(told)
    assert attempt.problem is None
    (way,) = (await found(notes))[0].deliveries
    assert (way.status, way.attempts) == ("sent", 2)
    first, second = hook.posted
    assert first.content == second.content


async def test_an_unreachable_receiver_is_given_up_in_the_end_and_that_is_shown(
    notes: Services,
) -> None:
    change(notes, FAILED)
    told = reconfigured(
        notes, alert_webhook_url=SecretStr("http://ann:hunter2@127.0.0.1:9/hook/token-hunter2")
    )
    for _ in range(telling.MOST_ATTEMPTS):
        (attempt,) = await tend(told)
        assert attempt.problem is not None
        assert "hunter2" not in attempt.problem
        assert "127.0.0.1:9" in attempt.problem
        change(notes, "UPDATE alert_deliveries SET due_at = now()")
    assert await tend(told) == []
    (way,) = (await found(notes))[0].deliveries
    assert (way.status, way.attempts) == ("failed", telling.MOST_ATTEMPTS)
    assert way.reason is not None
    assert "refuses connections" in way.reason
    (verdict,) = {each.verdict for each in await listed(notes)}
    assert verdict == "fail"


async def listed(services: Services) -> list[checks.Check]:
    async with reading(services.engine) as connection:
        return await checks.listing(connection)


def test_pauses_grow_and_end() -> None:
    pauses = [telling.pause(attempts) for attempts in range(1, telling.MOST_ATTEMPTS + 1)]
    seconds = [each.total_seconds() for each in pauses if each is not None]
    assert seconds == sorted(seconds)
    assert (seconds[0], seconds[-1]) == (30.0, 3600.0)
    assert pauses[-1] is None


async def test_two_who_look_at_once_tell_once(notes: Services, hook: HookServer) -> None:
    change(notes, FAILED)
    hook.ready.clear()
    told = [with_hook(notes, hook) for _ in range(4)]
    looking = [asyncio.create_task(tend(each)) for each in told]
    await asyncio.to_thread(hook.begun.wait, 30)
    _, waiting = await asyncio.wait(looking, timeout=1)
    assert len(waiting) == 1
    hook.ready.set()
    attempts = await asyncio.gather(*looking)
    assert sum(len(each) for each in attempts) == len(hook.posted) == 1


async def test_who_is_stopped_in_the_middle_leaves_it_to_the_next(
    notes: Services, hook: HookServer
) -> None:
    change(notes, FAILED)
    hook.ready.clear()
    told = with_hook(notes, hook)
    looking = asyncio.create_task(tend(told))
    await asyncio.to_thread(hook.begun.wait, 30)
    looking.cancel()
    with suppress(asyncio.CancelledError):
        await looking
    (way,) = (await found(notes))[0].deliveries
    assert (way.status, way.attempts) == ("waiting", 0)
    hook.ready.set()
    (attempt,) = await deliver(told)
    assert attempt.problem is None
    assert {each.payload["id"] for each in hook.posted} == {attempt.payload["id"]}


async def test_silence_is_told_once_and_again_when_it_lasts(
    notes: Services, hook: HookServer
) -> None:
    told = with_hook(notes, hook)
    assert await overdue(told) == []
    change(notes, "UPDATE indexes SET activated_at = now() - interval '49 hours'")
    # A night that came to no conclusion is no check: it is never shown as healthy.
    (late,) = await overdue(told)
    assert (late.collection, late.concluded, late.latest_verdict) == (
        "default",
        False,
        "inconclusive",
    )
    for _ in range(3):
        await tend(told)
    (posted,) = hook.posted
    assert (posted.payload["kind"], posted.payload["collection"]) == ("no_check", "default")
    assert "no check of collection 'default' has come to a conclusion" in posted.payload["sentence"]
    assert "reference queries" in posted.payload["sentence"]
    # Two days later; and then the clock goes back by a day.
    change(notes, "UPDATE alerts SET key = replace(key, ' 1', ' 0')")
    await tend(told)
    assert len(hook.posted) == 2
    change(notes, "UPDATE checks SET verdict = 'warn'")
    assert await overdue(told) == []
    await tend(told)
    assert len(hook.posted) == 2


async def test_a_conclusion_of_long_ago_counts_from_its_night(notes: Services) -> None:
    change(notes, "UPDATE checks SET verdict = 'stable', created_at = now() - interval '72 hours'")
    (late,) = await overdue(notes)
    assert late.concluded
    assert late.age.days == 3
    assert await overdue(reconfigured(notes, alert_after_days=4)) == []
    assert await overdue(reconfigured(notes, alert_after_days=0)) == []


async def test_a_check_dated_in_the_future_does_not_keep_silence_secret(notes: Services) -> None:
    change(notes, "UPDATE indexes SET activated_at = now() - interval '5 days'")
    change(notes, "UPDATE checks SET verdict = 'stable', created_at = now() + interval '300 days'")
    assert [late.concluded for late in await overdue(notes)] == [False]
    # As little as clocks of two machines differ is none.
    change(notes, "UPDATE checks SET created_at = now() + interval '1 minute'")
    assert await overdue(notes) == []


async def test_an_index_of_the_future_is_not_overdue(notes: Services) -> None:
    change(notes, "UPDATE indexes SET activated_at = now() + interval '5 days'")
    assert await overdue(notes) == []


async def test_collections_without_passages_are_nobodys_worry(notes: Services) -> None:
    change(notes, "UPDATE indexes SET activated_at = now() - interval '5 days'")
    change(notes, "DELETE FROM vector_records")
    assert await overdue(notes) == []


async def test_alerts_go_with_their_collection_and_with_time(
    notes: Services, hook: HookServer
) -> None:
    change(notes, FAILED)
    assert await note(with_hook(notes, hook)) == 1
    change(notes, "UPDATE alerts SET created_at = now() - interval '91 days'")
    async with reading(notes.engine) as connection:
        await alerts.forget_old(connection)
    assert await found(notes) == []
    assert await note(with_hook(notes, hook)) == 1
    change(notes, "DELETE FROM checks")
    change(notes, "DELETE FROM collections")
    assert await tend(with_hook(notes, hook)) == []


def mail_settings(settings: Settings, post: MailServer, **more: Any) -> Settings:
    return settings.model_copy(update=mailing(post, **more))


async def test_a_recipient_that_is_refused_is_noted_and_does_not_keep_others_from_it(
    settings: Settings, post: MailServer
) -> None:
    post.refused = {"bob@example.org"}
    (attempt,) = await send_test(mail_settings(settings, post))
    assert (attempt.problem, attempt.note) == (None, "refused for bob@example.org")
    assert post.recipients == [["ann@example.org"]]
    post.refused = {"ann@example.org", "bob@example.org"}
    (attempt,) = await send_test(mail_settings(settings, post))
    assert attempt.problem == "mail: 127.0.0.1: no recipient is taken: 550 no such user"


async def test_a_mail_server_says_why_it_takes_nothing(
    settings: Settings, post: MailServer
) -> None:
    async def problem(**more: Any) -> str:
        (attempt,) = await send_test(mail_settings(settings, post, **more))
        assert attempt.problem is not None
        return attempt.problem

    assert "UNMOVED_SMTP_SECURITY" in await problem(smtp_security="starttls")
    post.login = ("ann", "right")
    wrong = {"smtp_user": "ann", "smtp_password": SecretStr("hunter2")}
    refused = await problem(**wrong)
    assert "the login is refused (535)" in refused
    assert "hunter2" not in refused
    assert "530 log in first" in await problem()
    post.busy = True
    assert "421 too busy" in await problem()
    assert "connection refused" in await problem(smtp_port=9)


@pytest.mark.parametrize("security", ["starttls", "tls"])
async def test_mail_travels_encrypted_to_a_server_that_proves_its_name(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, security: str
) -> None:
    certificate = tmp_path / "server.pem"
    certificate.write_text(CERTIFICATE, encoding="ascii")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    resolve = socket.getaddrinfo

    def local(host: Any, *arguments: Any, **more: Any) -> Any:
        return resolve("127.0.0.1" if host == "pages.example" else host, *arguments, **more)

    monkeypatch.setattr(socket, "getaddrinfo", local)
    told = MailServer(context=context, tls=security == "tls", login=("ann", "right"))
    with mail_server(told):
        chosen = mail_settings(
            settings,
            told,
            smtp_security=security,
            smtp_host="pages.example",
            smtp_user="ann",
            smtp_password=SecretStr("right"),
        )
        (attempt,) = await send_test(chosen)
        assert attempt.problem is not None
        assert "its certificate is not good" in attempt.problem
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        (attempt,) = await send_test(chosen)
        assert attempt.problem is None
    assert told.encrypted == [True]


def test_long_sentences_are_cut_in_subjects_only() -> None:
    check_id = uuid4()
    made = checks.Check(
        id=check_id,
        collection="default",
        index_id=uuid4(),
        verdict="fail",
        sampled=0,
        changed=0,
        repeated=0,
        unsteady=0,
        noise_median=None,
        noise_max=None,
        drift=[],
        reproducibility=[],
        report={"sentence": "moved " * 100, "causes": []},
        created_at=datetime.now(UTC),
        accepted_at=None,
    )
    payload = of_check(uuid4(), made, public_url="")
    assert len(subject(payload)) == 150
    assert "moved " * 99 in body(payload)
    assert payload["link"] is None


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"ALERT_WEBHOOK_URL": "ftp://hunter2/x"}, "UNMOVED_ALERT_WEBHOOK_URL"),
        ({"ALERT_WEBHOOK_URL": "https://"}, "UNMOVED_ALERT_WEBHOOK_URL"),
        ({"PUBLIC_URL": "search.example.org"}, "UNMOVED_PUBLIC_URL"),
        ({"ALERT_MAIL_TO": "ann"}, "UNMOVED_ALERT_MAIL_TO"),
        ({"ALERT_MAIL_TO": "ann@example.org"}, "needs UNMOVED_SMTP_HOST too"),
        (
            {"ALERT_MAIL_TO": "ann@example.org", "SMTP_HOST": "mail.example.org"},
            "needs UNMOVED_ALERT_MAIL_FROM too",
        ),
        ({"ALERT_MAIL_FROM": "a@example.org,b@example.org"}, "must be one mail address"),
        ({"SMTP_SECURITY": "maybe"}, "UNMOVED_SMTP_SECURITY"),
        ({"ALERT_AFTER_DAYS": "-1"}, "UNMOVED_ALERT_AFTER_DAYS"),
        ({"CHECK_AT": "24:00"}, "UNMOVED_CHECK_AT"),
        ({"CHECK_AT": "every night"}, "UNMOVED_CHECK_AT"),
        ({"CHECK_TIMEZONE": "Mars/Olympus"}, "UNMOVED_CHECK_TIMEZONE"),
    ],
)
def test_settings_that_cannot_be_meant_are_refused(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(f"UNMOVED_{name}", value)
    with pytest.raises(ConfigurationError, match=said) as caught:
        load_settings()
    assert "hunter2" not in str(caught.value)


def environment(services: Services, hook: HookServer | None = None) -> dict[str, str]:
    url = services.settings.database_url
    assert url is not None
    return {
        **os.environ,
        "DATABASE_URL": url.get_secret_value(),
        "UNMOVED_DATA_DIR": str(services.settings.data_dir),
        "UNMOVED_ALERT_WEBHOOK_URL": hook.url if hook else "",
        "NO_COLOR": "1",
    }


async def command(surroundings: dict[str, str], *words: str) -> tuple[int, str, str]:
    program, *arguments = words

    def done() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / program, *arguments],
            env=surroundings,
            check=False,
            capture_output=True,
            text=True,
        )

    ended = await asyncio.to_thread(done)
    return ended.returncode, ended.stdout, ended.stderr


async def test_the_command_that_checks_tells_and_keeps_its_verdict(
    notes: Services, hook: HookServer
) -> None:
    surroundings = environment(notes, hook)
    hook.status = 500
    change(notes, "UPDATE vector_records SET stored_hash = sent_hash")
    code, output, errors = await command(surroundings, "ingest", "check")
    assert (code, output[:4]) == (2, "FAIL")
    assert "an alert was not delivered" in errors
    assert "hunter2" not in errors
    hook.status = 200
    code, output, _ = await command(surroundings, "search-app", "alerts")
    assert (code, "waiting after 1 attempts" in output) == (1, True)
    code, output, _ = await command(surroundings, "search-app", "alerts", "--again")
    assert (code, "sent after 1 attempts" in output) == (0, True)
    assert [each.payload["kind"] for each in hook.posted] == ["fail", "fail"]


async def test_the_test_alert_says_whether_it_was_taken(notes: Services, hook: HookServer) -> None:
    code, _, errors = await command(environment(notes), "search-app", "alerts", "--test")
    assert code == 2
    assert "UNMOVED_ALERT_WEBHOOK_URL" in errors
    code, output, _ = await command(environment(notes, hook), "search-app", "alerts", "--test")
    assert (code, output) == (0, "webhook: taken\n")
    assert hook.posted[0].payload["kind"] == "test"
    hook.status = 403
    code, output, _ = await command(environment(notes, hook), "search-app", "alerts", "--test")
    assert (code, "HTTP 403" in output) == (1, True)


async def test_the_command_for_cron_names_what_is_overdue_even_if_nobody_is_told(
    notes: Services,
) -> None:
    change(notes, "UPDATE indexes SET activated_at = now() - interval '5 days'")
    code, output, _ = await command(environment(notes), "search-app", "alerts")
    assert code == 1
    assert output.startswith("NO CHECK  no check of collection 'default'")
    code, output, _ = await command(environment(notes), "search-app", "alerts", "--json")
    assert (code, '"collection": "default"' in output) == (1, True)
