"""Finding out what there is to tell, and delivering it until it has arrived."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import uuid4

import structlog

from search_app.alerts import mailing, message, webhook
from search_app.alerts.message import Payload
from search_app.bootstrap import Services
from search_app.catalog import alerts, checks
from search_app.catalog.alerts import Channel, Standing
from search_app.catalog.engine import reading, transaction
from search_app.config import Settings
from search_app.errors import AlertNotSentError, UnmovedError

FIRST_PAUSE_S = 30.0
LONGEST_PAUSE_S = 3600.0
MOST_ATTEMPTS = 12
"""Within some five hours and a half; then an alert is given up, and that is shown."""

LOOK_S = 30.0
"""Seconds from one look for what there is to tell to the next."""

log = structlog.get_logger()


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """How one delivery went: ``problem`` None means that it arrived."""

    channel: str
    payload: Payload
    problem: str | None
    note: str | None = None


def channels(settings: Settings) -> list[Channel]:
    """Name the ways that are set up."""
    ways: list[Channel] = []
    if settings.alert_webhook_url is not None:
        ways.append("webhook")
    if settings.alert_mail_to:
        ways.append("mail")
    return ways


async def keep_telling(services: Services, *, every_s: float = LOOK_S) -> None:
    """Look and tell until the task is cancelled; what goes wrong meanwhile is logged."""
    while True:
        try:
            await tend(services)
        except UnmovedError as exc:
            log.warning("alerts cannot be looked after", reason=str(exc), again_in_s=every_s)
        except Exception:
            # A fault of ours must not end the worker or the server that this runs beside.
            log.exception("alerts cannot be looked after", again_in_s=every_s)
        await asyncio.sleep(every_s)


async def tend(services: Services) -> list[Attempt]:
    """Note what there is to tell, deliver what is due, and say how that went.

    Raises:
        CatalogError: the catalog cannot be reached.
    """
    await note(services)
    return await deliver(services)


async def note(services: Services) -> int:
    """Keep an alert for whatever was not said yet; say how many are new."""
    settings = services.settings
    ways = channels(settings)
    if not ways:
        return 0
    return await _note_failures(services, ways) + await _note_silences(services, ways)


async def _note_failures(services: Services, ways: Sequence[Channel]) -> int:
    async with reading(services.engine) as connection:
        failed = await alerts.failed_checks(connection)
        known = await alerts.said(connection, [f"fail {check_id}" for check_id in failed])
    added = 0
    for check_id, collection_id in failed.items():
        key = f"fail {check_id}"
        if key in known:
            continue
        alert_id = uuid4()
        async with transaction(services.engine) as connection:
            check = await checks.get(connection, check_id)
            added += await alerts.add(
                connection,
                alert_id=alert_id,
                key=key,
                kind=message.FAIL,
                collection_id=collection_id,
                payload=message.of_check(alert_id, check, public_url=services.settings.public_url),
                channels=ways,
            )
    return added


async def _note_silences(services: Services, ways: Sequence[Channel]) -> int:
    added = 0
    for standing in await overdue(services):
        alert_id = uuid4()
        async with transaction(services.engine) as connection:
            added += await alerts.add(
                connection,
                alert_id=alert_id,
                key=silence_key(standing, days=services.settings.alert_after_days),
                kind=message.NO_CHECK,
                collection_id=standing.collection_id,
                payload=message.of_silence(
                    alert_id, standing, public_url=services.settings.public_url
                ),
                channels=ways,
            )
    return added


def silence_key(standing: Standing, *, days: int) -> str:
    """Name a silence, so that it is told of once, and again each time that so many days passed."""
    times = standing.age // timedelta(days=days)
    return f"no_check {standing.index_id} {standing.since.isoformat()} {times}"


async def overdue(services: Services) -> list[Standing]:
    """Give the collections that were not checked with a conclusion for too many days."""
    days = services.settings.alert_after_days
    if not days:
        return []
    async with reading(services.engine) as connection:
        found = await alerts.standings(connection)
    return [standing for standing in found if is_overdue(standing, days=days)]


def is_overdue(standing: Standing, *, days: int) -> bool:
    """Say whether so many days have passed since anything was known."""
    return standing.age >= timedelta(days=days)


async def deliver(services: Services) -> list[Attempt]:
    """Deliver whatever is due, each once; what fails is kept with its reason, for a later time."""
    attempts = []
    while (attempt := await _deliver_one(services)) is not None:
        attempts.append(attempt)
    return attempts


async def _deliver_one(services: Services) -> Attempt | None:
    # Sent within the transaction that locks it: two processes never send the same, and one that
    # is killed gives it back.
    async with transaction(services.engine) as connection:
        taken = await alerts.due(connection)
        if taken is None:
            return None
        attempt = await send(services.settings, taken.channel, taken.payload)
        if attempt.problem is None:
            await alerts.note_sent(connection, taken, attempt.note)
        else:
            again_in = pause(taken.attempts + 1)
            await alerts.note_failure(connection, taken, attempt.problem, again_in)
            log.error(
                "an alert was not delivered",
                alert=str(taken.alert_id),
                reason=attempt.problem,
                again_in_s=None if again_in is None else again_in.total_seconds(),
            )
    return attempt


def pause(attempts: int) -> timedelta | None:
    """Give the time until the next attempt after so many that failed; None: there is none."""
    if attempts >= MOST_ATTEMPTS:
        return None
    return timedelta(seconds=min(FIRST_PAUSE_S * 2 ** (attempts - 1), LONGEST_PAUSE_S))


async def send(settings: Settings, channel: str, payload: Payload) -> Attempt:
    """Send an alert one way, now, and say how that went."""
    note = None
    try:
        if channel == "webhook":
            await webhook.send(settings, payload)
        else:
            note = await mailing.send(settings, payload)
    except AlertNotSentError as exc:
        return Attempt(channel=channel, payload=payload, problem=str(exc))
    return Attempt(channel=channel, payload=payload, problem=None, note=note)


async def send_test(settings: Settings) -> list[Attempt]:
    """Send a test every way that is set up, once each."""
    payload = message.of_test(uuid4(), public_url=settings.public_url)
    return [await send(settings, channel, payload) for channel in channels(settings)]
