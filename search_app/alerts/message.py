"""What alerts say: their JSON shape, and the same as a mail."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from uuid import UUID

from search_app.catalog.alerts import Standing
from search_app.catalog.checks import Check
from search_app.types import JSON

SCHEMA = 1
"""Version of the JSON shape; new fields may come without a new one."""

FAIL, NO_CHECK, TEST = "fail", "no_check", "test"

LONGEST_SUBJECT = 150

Payload = Mapping[str, JSON]


def of_check(alert_id: UUID, check: Check, *, public_url: str) -> Payload:
    """Say that a check failed."""
    return _payload(
        alert_id,
        FAIL,
        collection=check.collection,
        check_id=str(check.id),
        verdict=check.verdict,
        sentence=check.report["sentence"],
        causes=check.report["causes"],
        since=check.created_at.isoformat(),
        link=f"{public_url}/checks/{check.id}" if public_url else None,
    )


def of_silence(alert_id: UUID, standing: Standing, *, public_url: str) -> Payload:
    """Say that nothing is known of a collection's rankings any more."""
    return _payload(
        alert_id,
        NO_CHECK,
        collection=standing.collection,
        check_id=None if standing.latest_id is None else str(standing.latest_id),
        verdict=standing.latest_verdict,
        sentence=silence(standing),
        causes=[],
        since=standing.since.isoformat(),
        link=f"{public_url}/checks" if public_url else None,
    )


def of_test(alert_id: UUID, *, public_url: str) -> Payload:
    """Say that this is a test."""
    return _payload(
        alert_id,
        TEST,
        collection=None,
        check_id=None,
        verdict=None,
        sentence="this is a test: alerts of Unmoved arrive here",
        causes=[],
        since=None,
        link=f"{public_url}/checks" if public_url else None,
    )


def silence(standing: Standing) -> str:
    """Say in one sentence how long nothing has been known of a collection, and why."""
    day = standing.since.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")
    begun = (
        f"the last check of collection {standing.collection!r} that came to a conclusion was "
        f"on {day}"
        if standing.concluded
        else f"no check of collection {standing.collection!r} has come to a conclusion since its "
        f"index was activated on {day}"
    )
    if standing.latest_verdict == "inconclusive":
        return f"{begun}; the latest was inconclusive: {standing.latest_sentence}"
    return f"{begun}; is a worker running, and does it check?"


def _payload(alert_id: UUID, kind: str, **facts: JSON) -> Payload:
    return {
        "schema": SCHEMA,
        "id": str(alert_id),
        "kind": kind,
        **facts,
        "created_at": datetime.now(UTC).isoformat(),
    }


def subject(payload: Payload) -> str:
    """Say what happened in the one line that lists of mails show."""
    heading = {FAIL: "FAIL", NO_CHECK: "NO CHECK", TEST: "test"}[payload["kind"]]
    about = f" {payload['collection']}" if payload["collection"] else ""
    line = " ".join(f"[Unmoved] {heading}{about}: {payload['sentence']}".split())
    return line if len(line) <= LONGEST_SUBJECT else f"{line[: LONGEST_SUBJECT - 1]}…"


def mail(payload: Payload, *, sender: str, recipients: str) -> EmailMessage:
    """Write an alert as a mail in plain text; every attempt to send it has the same id."""
    message = EmailMessage()
    message["Subject"] = subject(payload)
    message["From"] = sender
    message["To"] = recipients
    message["Date"] = format_datetime(datetime.fromisoformat(payload["created_at"]))
    message["Message-ID"] = f"<{payload['id']}@{sender.rpartition('@')[2]}>"
    # Keeps holiday notices from being sent in answer.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(body(payload))
    return message


def body(payload: Payload) -> str:
    """Write an alert in plain text."""
    lines = [payload["sentence"], ""]
    for cause in payload["causes"]:
        sure = "confirmed" if cause["confirmed"] else "likely"
        lines += [f"Cause ({sure}): {cause['name']}", f"  {cause['evidence']}"]
        lines += [f"  What to do: {cause['remedy']}", ""]
    facts = {
        "Collection": payload["collection"],
        "Check": payload["check_id"],
        "Verdict": payload["verdict"],
        "Since": payload["since"],
        "Report": payload["link"],
    }
    lines += [f"{name}: {fact}" for name, fact in facts.items() if fact]
    return "\n".join(lines).rstrip() + "\n"
