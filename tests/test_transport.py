"""The transport by a clock of its own: limits, pauses, rests, counts. No test waits."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from pydantic import SecretStr

from search_app.embedders.hosted.breaker import AFTER, LONGEST_REST_S, REST_S
from search_app.embedders.hosted.failure import CallFailedError
from search_app.embedders.hosted.request import Request, Service
from search_app.embedders.hosted.transport import LONGEST_WAIT_S, Plan, Transport
from search_app.embedders.hosted.window import BEGINNING, Window
from search_app.errors import (
    EmbedderRefusedError,
    EmbedderResponseError,
    EmbedderUnavailableError,
)
from search_app.types import JSON
from tests.fake_clock import FakeClock

KEY = "sk-very-secret-0123456789"
REQUEST = Request(
    spec="some:model",
    host="example.test",
    service=Service(key_setting="KEY_SETTING"),
    texts=["a text"],
    secrets=[SecretStr(KEY)],
)


@dataclass
class Provider:
    """Answers after a while, as many requests at once as it bears, or as a test says."""

    clock: FakeClock
    latency_s: float = 0.05
    limit: int = 10**6
    headers: dict[str, str] = field(default_factory=dict)
    under_way: int = 0
    most_under_way: int = 0
    sent_at: list[float] = field(default_factory=list)
    failing: Callable[[], Exception | None] = lambda: None

    async def __call__(self) -> str:
        self.sent_at.append(self.clock.now())
        if self.under_way >= self.limit:
            raise CallFailedError(status=429, headers=self.headers)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.clock.sleep(self.latency_s)
        finally:
            self.under_way -= 1
        failure = self.failing()
        if failure is not None:
            raise failure
        return "answer"


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


async def send_many(
    transport: Transport, provider: Callable[[], Awaitable[str]], number: int, *, tasks: int
) -> int:
    """Send so many requests from so many tasks, and count those that got no answer."""
    left = iter(range(number))
    failed = 0

    async def send_in_turn() -> None:
        nonlocal failed
        for _ in left:
            try:
                await transport.send(REQUEST, provider)
            except EmbedderUnavailableError:
                failed += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(tasks):
            group.create_task(send_in_turn())
    return failed


def raising(failure: Exception) -> Callable[[], Exception | None]:
    return lambda: failure


def once(*failures: Exception) -> Callable[[], Exception | None]:
    """Fail like this, one after the other, and then no more."""
    left = list(failures)
    return lambda: left.pop(0) if left else None


class TestConcurrency:
    @pytest.mark.parametrize("concurrency", [1, 3, 8])
    async def test_callers_keep_to_it_together(self, clock: FakeClock, concurrency: int) -> None:
        transport, provider = Transport(Plan(concurrency=concurrency), clock), Provider(clock)

        async def two_callers() -> None:
            async with asyncio.TaskGroup() as group:
                for _ in range(2):
                    group.create_task(send_many(transport, provider, 50, tasks=20))

        await clock.run(two_callers())
        assert provider.most_under_way == concurrency
        assert len(provider.sent_at) == 100

    async def test_it_grows_to_what_is_allowed(self, clock: FakeClock) -> None:
        transport, provider = Transport(Plan(concurrency=50), clock), Provider(clock)
        await clock.run(send_many(transport, provider, BEGINNING, tasks=100))
        assert provider.most_under_way == BEGINNING
        await clock.run(send_many(transport, provider, 500, tasks=100))
        assert provider.most_under_way == 50

    async def test_what_is_not_used_does_not_grow(self, clock: FakeClock) -> None:
        transport, provider = Transport(Plan(concurrency=50), clock), Provider(clock)
        await clock.run(send_many(transport, provider, 500, tasks=2))
        assert transport.window.size == BEGINNING

    @pytest.mark.parametrize("limit", [1, 2, 7, 20, 60])
    @pytest.mark.parametrize("headers", [{}, {"retry-after": "0"}])
    async def test_a_limit_is_found_and_used_well(
        self, clock: FakeClock, limit: int, headers: dict[str, str]
    ) -> None:
        transport = Transport(Plan(concurrency=64), clock)
        provider = Provider(clock, limit=limit, headers=headers)
        began = clock.now()
        number = limit * 400
        assert await clock.run(send_many(transport, provider, number, tasks=64)) == 0
        assert provider.most_under_way == limit
        best_s = number / limit * provider.latency_s
        assert best_s / (clock.now() - began) >= 0.9
        assert transport.traffic.throttles < number / 50 + 64
        assert transport.traffic.requests == number + transport.traffic.throttles

    async def test_a_throttle_halves_what_is_under_way(self, clock: FakeClock) -> None:
        transport = Transport(Plan(concurrency=8), clock)
        provider = Provider(clock, failing=once(CallFailedError(status=429)))
        await clock.run(send_many(transport, provider, 8, tasks=8))
        assert transport.window.size in {4, 5}

    async def test_one_more_than_is_borne_costs_one_request(self) -> None:
        window, sizes, refused = Window(40), [], 0
        for _ in range(400):
            places = [await window.enter() for _ in range(window.size)]
            for place in places:
                if place.rank > 20:
                    window.was_too_many(place)
                else:
                    window.went_well(place)
                window.leave()
            sizes.append(window.size)
            refused += len(places[20:]) if 20 in sizes[:-1] else 0
        settled = sizes[sizes.index(20) :]
        assert set(settled) == {20, 21}
        assert 2 <= refused <= 8

    async def test_a_limit_that_falls_is_kept_to(self, clock: FakeClock) -> None:
        transport, provider = Transport(Plan(concurrency=40), clock), Provider(clock)
        await clock.run(send_many(transport, provider, 1000, tasks=40))
        provider.limit = 10
        await clock.run(send_many(transport, provider, 400, tasks=40))
        assert transport.traffic.throttles <= 40 + 10
        assert transport.window.size <= 11

    async def test_a_limit_that_is_lifted_is_noticed(self, clock: FakeClock) -> None:
        transport = Transport(Plan(concurrency=40), clock)
        provider = Provider(clock, limit=5)
        await clock.run(send_many(transport, provider, 2000, tasks=40))
        assert transport.window.size <= 6
        provider.limit = 40
        await clock.run(send_many(transport, provider, 8000, tasks=40))
        assert transport.window.size == 40

    async def test_cancelled_requests_give_their_places_back(self, clock: FakeClock) -> None:
        transport, provider = Transport(Plan(concurrency=2), clock), Provider(clock)
        tasks = [asyncio.create_task(transport.send(REQUEST, provider)) for _ in range(10)]
        for _ in range(10):
            await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert transport.window.under_way == 0
        assert await clock.run(transport.send(REQUEST, provider)) == "answer"


class TestRates:
    async def test_requests_per_minute(self, clock: FakeClock) -> None:
        transport = Transport(Plan(concurrency=20, requests_per_minute=120), clock)
        provider = Provider(clock)
        began = clock.now()
        await clock.run(send_many(transport, provider, 600, tasks=20))
        for start in provider.sent_at:
            assert sum(start <= at < start + 60 for at in provider.sent_at) <= 120 + 3
        # 600 at two a second, and not much slower.
        assert 298 <= clock.now() - began <= 301

    async def test_tokens_per_minute(self, clock: FakeClock) -> None:
        transport = Transport(Plan(tokens_per_minute=6000), clock)
        provider = Provider(clock, latency_s=0.0)
        began = clock.now()

        async def send_all() -> None:
            for _ in range(50):
                await transport.send(REQUEST, provider, tokens=1000)
                transport.counted(500, taken=1000)

        await clock.run(send_all())
        # 25,000 tokens as the provider counts, at 100 a second; the first go at once.
        assert 240 <= clock.now() - began <= 255
        assert transport.traffic.tokens == 25_000

    async def test_more_at_once_than_a_minute_allows_goes_and_is_paid_for(
        self, clock: FakeClock
    ) -> None:
        transport, provider = Transport(Plan(tokens_per_minute=600), clock), Provider(clock)
        for _ in range(2):
            await clock.run(transport.send(REQUEST, provider, tokens=1200))
        first, second = provider.sent_at
        assert second - first >= 119


class TestPauses:
    @pytest.mark.parametrize(
        ("headers", "body"),
        [
            ({"retry-after": "7"}, {}),
            ({"retry-after-ms": "7000"}, {}),
            ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "7s"}, {}),
            ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "6s1000ms"}, {}),
            (
                {
                    "x-ratelimit-remaining-requests": "59",
                    "x-ratelimit-reset-requests": "1s",
                    "x-ratelimit-remaining-tokens": "0",
                    "x-ratelimit-reset-tokens": "0m7s",
                },
                {},
            ),
            ({"ratelimit-remaining": "0", "ratelimit-reset": "7"}, {}),
            ({}, {"error": {"details": [{"@type": "x.RetryInfo", "retryDelay": "7s"}]}}),
        ],
    )
    async def test_what_one_is_asked_all_do(
        self, clock: FakeClock, headers: dict[str, str], body: JSON
    ) -> None:
        transport = Transport(Plan(concurrency=4), clock)
        throttle = CallFailedError(status=429, headers=headers, body=body)
        provider = Provider(clock, failing=once(throttle))
        assert await clock.run(send_many(transport, provider, 30, tasks=4)) == 0
        pauses = [later - earlier for earlier, later in pairwise(provider.sent_at)]
        # Those under way are not taken back; after them nobody sends for seven seconds.
        assert max(pauses) == pytest.approx(7, abs=0.1)
        assert sum(pause > 1 for pause in pauses) == 1

    @pytest.mark.parametrize(
        ("reset", "seconds"), [("6m0s", 60.0), ("1h", 60.0), ("20ms", 0.02), ("1.5s", 1.5)]
    )
    def test_spans(self, reset: str, seconds: float) -> None:
        headers = {"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": reset}
        assert CallFailedError(status=429, headers=headers).retry_after_s == seconds

    @pytest.mark.parametrize("reset", ["", "soon", "-5s", "m", "1d", "nan"])
    def test_spans_that_are_none(self, reset: str) -> None:
        headers = {"x-ratelimit-reset-requests": reset}
        assert CallFailedError(status=429, headers=headers).retry_after_s is None

    def test_limits_that_are_not_reached_say_nothing(self) -> None:
        headers = {"x-ratelimit-remaining-requests": "5", "x-ratelimit-reset-requests": "9s"}
        assert CallFailedError(status=429, headers=headers).retry_after_s is None
        headers["x-ratelimit-remaining-requests"] = "0"
        assert CallFailedError(status=500, headers=headers).retry_after_s is None

    async def test_a_pause_that_is_too_long_is_an_error(self, clock: FakeClock) -> None:
        transport = Transport(Plan(), clock)
        headers = {"retry-after": f"{LONGEST_WAIT_S + 1}"}
        provider = Provider(clock, failing=once(CallFailedError(status=429, headers=headers)))
        with pytest.raises(EmbedderUnavailableError, match="it asks to wait 61 s"):
            await clock.run(transport.send(REQUEST, provider))
        assert await clock.run(transport.send(REQUEST, provider)) == "answer"

    async def test_waits_grow_and_differ(self, clock: FakeClock) -> None:
        transport = Transport(Plan(max_retries=6, retry_wait_s=1.0), clock)
        provider = Provider(
            clock, latency_s=0.0, failing=raising(CallFailedError(status=500, body="busy"))
        )
        with pytest.raises(EmbedderUnavailableError, match="tried 7 times"):
            await clock.run(transport.send(REQUEST, provider))
        waits = [later - earlier for earlier, later in pairwise(provider.sent_at)]
        for wait, most in zip(waits, [1, 2, 4, 8, 8, 8], strict=True):
            assert 0.75 * most <= wait <= most
        assert len(set(waits)) == 6

    async def test_throttles_are_waited_out_longer_than_failures(self, clock: FakeClock) -> None:
        transport = Transport(Plan(max_retries=1, throttle_retries=5), clock)
        provider = Provider(clock, failing=once(*(CallFailedError(status=429) for _ in range(5))))
        assert await clock.run(transport.send(REQUEST, provider)) == "answer"
        assert transport.traffic.throttles == transport.traffic.retries == 5

    async def test_what_is_not_paid_is_not_waited_for(self, clock: FakeClock) -> None:
        transport = Transport(Plan(), clock)
        body = {"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}
        provider = Provider(clock, failing=raising(CallFailedError(status=429, body=body)))
        with pytest.raises(EmbedderRefusedError, match="used up"):
            await clock.run(transport.send(REQUEST, provider))
        assert len(provider.sent_at) == 1


class TestBreaker:
    @staticmethod
    async def silent(clock: FakeClock) -> tuple[Transport, Provider]:
        transport = Transport(Plan(max_retries=0), clock)
        failure = CallFailedError(reason=f"ConnectError: no route, key {KEY}")
        provider = Provider(clock, failing=raising(failure))
        for _ in range(AFTER):
            with pytest.raises(EmbedderUnavailableError, match="is it running"):
                await clock.run(transport.send(REQUEST, provider))
        provider.sent_at.clear()
        return transport, provider

    async def test_a_silent_provider_is_left_alone(self, clock: FakeClock) -> None:
        transport, provider = await self.silent(clock)
        with pytest.raises(EmbedderUnavailableError) as caught:
            await transport.send(REQUEST, provider)
        message = str(caught.value)
        assert message.startswith(
            "some:model at example.test: not asked, because 5 requests in a row got no answer; "
            "one tries again in 15 s. The last: no answer (ConnectError"
        )
        assert KEY not in message
        assert provider.sent_at == []

    async def test_one_tries_and_finds_it_back(self, clock: FakeClock) -> None:
        transport, provider = await self.silent(clock)
        clock.seconds += REST_S
        provider.failing = lambda: None
        trial = asyncio.create_task(clock.run(transport.send(REQUEST, provider)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(EmbedderUnavailableError, match="one is trying now"):
            await transport.send(REQUEST, provider)
        assert await trial == "answer"
        assert await clock.run(send_many(transport, provider, 20, tasks=4)) == 0

    async def test_rests_grow_while_it_stays_silent(self, clock: FakeClock) -> None:
        transport, provider = await self.silent(clock)
        transport.plan = Plan(max_retries=3)
        rest_s = REST_S
        for _ in range(6):
            clock.seconds += rest_s
            with pytest.raises(EmbedderUnavailableError, match="is it running"):
                await clock.run(transport.send(REQUEST, provider))
            rest_s = min(2 * rest_s, LONGEST_REST_S)
            clock.seconds += rest_s - 1
            with pytest.raises(EmbedderUnavailableError, match="again in 1 s"):
                await transport.send(REQUEST, provider)
            clock.seconds -= rest_s - 1
        # The one that tries does so once.
        assert len(provider.sent_at) == 6

    async def test_a_trial_that_nobody_waits_for_leaves_room_for_another(
        self, clock: FakeClock
    ) -> None:
        transport, provider = await self.silent(clock)
        clock.seconds += REST_S
        trial = asyncio.create_task(transport.send(REQUEST, provider))
        for _ in range(5):
            await asyncio.sleep(0)
        trial.cancel()
        await asyncio.gather(trial, return_exceptions=True)
        provider.failing = lambda: None
        assert await clock.run(transport.send(REQUEST, provider)) == "answer"

    @pytest.mark.parametrize(
        "answer",
        [
            CallFailedError(status=400, body="no"),
            CallFailedError(status=429, headers={"retry-after": "1000"}),
            EmbedderResponseError("nonsense"),
        ],
    )
    async def test_any_answer_is_a_sign_of_life(self, clock: FakeClock, answer: Exception) -> None:
        transport = Transport(Plan(max_retries=0), clock)
        silence = CallFailedError(status=503)
        provider = Provider(clock, failing=once(*[silence] * (AFTER - 1), answer, silence))
        for _ in range(AFTER + 1):
            with pytest.raises(
                (EmbedderUnavailableError, EmbedderRefusedError, EmbedderResponseError)
            ):
                await clock.run(transport.send(REQUEST, provider))
        assert await clock.run(transport.send(REQUEST, provider)) == "answer"

    async def test_a_short_silence_under_load_is_survived(self, clock: FakeClock) -> None:
        """A server that restarts breaks everything under way at once; that is one failure each."""
        transport, provider = Transport(Plan(concurrency=16), clock), Provider(clock)
        back_at = clock.now() + 3
        provider.failing = lambda: (
            CallFailedError(reason="ConnectError") if clock.now() < back_at else None
        )
        assert await clock.run(send_many(transport, provider, 200, tasks=16)) == 0

    async def test_those_who_wait_for_a_place_hear_of_it_at_once(self, clock: FakeClock) -> None:
        transport = Transport(Plan(concurrency=AFTER, max_retries=0), clock)
        provider = Provider(clock, latency_s=60, failing=raising(CallFailedError(timed_out=True)))
        began = clock.now()
        assert await clock.run(send_many(transport, provider, 100, tasks=100)) == 100
        assert clock.now() - began == pytest.approx(60)
        assert len(provider.sent_at) == AFTER


class TestCounts:
    async def test_traffic(self, clock: FakeClock) -> None:
        transport = Transport(Plan(), clock)
        failures = [
            CallFailedError(status=500),
            CallFailedError(reason="ConnectError"),
            CallFailedError(status=429),
        ]
        provider = Provider(clock, failing=once(*failures))
        await clock.run(transport.send(REQUEST, provider))
        await clock.run(transport.send(REQUEST, provider))
        traffic = transport.traffic
        assert (traffic.requests, traffic.responses) == (5, 4)
        assert (traffic.retries, traffic.throttles) == (3, 1)
