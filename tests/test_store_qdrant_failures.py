"""A Qdrant that is not there, slow, full, someone else, or wants another key."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import grpc
import httpx
import numpy as np
import pytest
from qdrant_client.common import client_exceptions
from qdrant_client.http import exceptions

from search_app.errors import StoreError, StoreRefusedError, StoreUnavailableError
from search_app.stores.qdrant import QdrantStore
from search_app.stores.qdrant_collections import QdrantPlan
from search_app.stores.qdrant_connection import QdrantAddress
from search_app.stores.qdrant_errors import NoIndexError, translated
from tests.points import make_points, sparse, term_query, units
from tests.scripted_endpoint import (
    Received,
    Reply,
    ScriptedEndpoint,
    body,
    json_body,
    reset,
    scripted_endpoint,
    stall,
    trickle,
)
from tests.store_contract import CALLS

EVERY_CALL: Mapping[str, Callable[[QdrantStore, UUID], Awaitable[object]]] = {
    **CALLS,
    "create": lambda store, key: store.create(key, 8),
    "drop": lambda store, key: store.drop(key),
    "ping": lambda store, _: store.ping(),
}


@pytest.fixture
async def server() -> AsyncIterator[ScriptedEndpoint]:
    async with scripted_endpoint() as endpoint:
        endpoint.url = endpoint.url.removesuffix("/v1")
        yield endpoint


@asynccontextmanager
async def opened(
    url: str, *, plan: QdrantPlan | None = None, **more: Any
) -> AsyncIterator[QdrantStore]:
    store = QdrantStore(QdrantAddress(url=url, **more), plan=plan)
    yield store
    await store.aclose()


def says(status: int, reason: str) -> Reply:
    """Refuse as Qdrant does."""
    return json_body({"status": {"error": reason}, "time": 0.1}, status=status)


async def done(request: Received, writer: asyncio.StreamWriter) -> None:
    """Confirm a write as Qdrant does."""
    one = {"operation_id": 1, "status": "completed"}
    result = [one] if request.target.partition("?")[0].endswith("/batch") else one
    await json_body({"result": result, "status": "ok", "time": 0.1})(request, writer)


def unused_port() -> int:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port: int = unused.getsockname()[1]
        return port


# Answers over REST


@pytest.mark.parametrize("call", EVERY_CALL.values(), ids=EVERY_CALL)
@pytest.mark.parametrize("grpc_too", [False, True], ids=["rest", "grpc"])
async def test_nobody_listening_is_unavailable(
    call: Callable[[QdrantStore, UUID], Awaitable[object]], *, grpc_too: bool
) -> None:
    grpc_port = unused_port() if grpc_too else 0
    url = f"http://127.0.0.1:{unused_port()}"
    async with opened(url, grpc_port=grpc_port) as store:
        with pytest.raises(StoreUnavailableError, match="cannot be reached") as raised:
            await call(store, uuid4())
        assert url in str(raised.value)
        assert "\n" not in str(raised.value)


async def test_a_name_that_does_not_resolve_is_unavailable() -> None:
    async with opened("http://no-such-host.invalid:6333") as store:
        with pytest.raises(StoreUnavailableError, match="cannot be reached"):
            await store.ping()


@pytest.mark.parametrize(
    ("reply", "expected", "reason"),
    [
        (says(401, "Invalid API key or JWT"), StoreRefusedError, "UNMOVED_QDRANT_API_KEY"),
        (says(403, "Forbidden"), StoreRefusedError, "UNMOVED_QDRANT_API_KEY"),
        (body(b"Must provide an API key", status=401), StoreRefusedError, "UNMOVED_QDRANT_API_KEY"),
        (says(400, "Wrong input: line one\nline two"), StoreRefusedError, "Wrong input: line one$"),
        (says(404, "Not found: Collection `x` doesn't exist!"), NoIndexError, "create it first"),
        (says(408, "Timeout"), StoreUnavailableError, "UNMOVED_QDRANT_TIMEOUT"),
        (says(413, "Payload too large"), StoreRefusedError, "Payload too large"),
        (says(429, "Rate limit"), StoreUnavailableError, "too many requests"),
        (
            json_body({"status": {"error": "wait"}}, status=429, headers={"retry-after": "3"}),
            StoreUnavailableError,
            "too many requests",
        ),
        (says(500, "Service internal error: No space left"), StoreUnavailableError, "No space"),
        (body(b"<h1>Bad Gateway</h1>", status=502), StoreUnavailableError, "502"),
        (body(b"", status=503), StoreUnavailableError, "503"),
        (body(b"<h1>Not Found</h1>", status=404), StoreUnavailableError, "UNMOVED_QDRANT_URL"),
        (body(b"<h1>It works</h1>"), StoreUnavailableError, "is not Qdrant"),
        (body(b""), StoreUnavailableError, "is not Qdrant"),
        (body(b"\xff\xfe\x00"), StoreUnavailableError, "is not Qdrant"),
        (json_body([1, 2, 3]), StoreUnavailableError, "is not Qdrant"),
        (json_body({"result": None, "status": "ok"}), StoreUnavailableError, "is not Qdrant"),
        (json_body({"result": {"a": 1}, "status": "ok"}), StoreUnavailableError, "is not Qdrant"),
        (body(b"{", headers={"content-length": "99"}), StoreUnavailableError, "cannot be reached"),
        (reset, StoreUnavailableError, "cannot be reached"),
    ],
)
async def test_answers_are_told_apart(
    server: ScriptedEndpoint, reply: Reply, expected: type[StoreError], reason: str
) -> None:
    server.script(reply)
    async with opened(server.url, api_key="s3cret") as store:
        for call in (store.ping(), store.count(uuid4())):
            with pytest.raises(expected, match=reason) as raised:
                await call
            assert "\n" not in str(raised.value)
            assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize("reply", [stall, trickle])
async def test_a_slow_server_is_unavailable(server: ScriptedEndpoint, reply: Reply) -> None:
    server.script(reply)
    async with opened(server.url, timeout_s=1) as store:
        with pytest.raises(StoreUnavailableError, match="UNMOVED_QDRANT_TIMEOUT"):
            await store.ping()


async def test_a_server_that_comes_back_is_used_again(server: ScriptedEndpoint) -> None:
    server.script(reset, says(503, "starting"), json_body(_collections()))
    async with opened(server.url) as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError):
                await store.ping()
        await store.ping()


async def test_a_cancelled_call_stays_cancelled(server: ScriptedEndpoint) -> None:
    server.script(stall)
    async with opened(server.url) as store:
        call = asyncio.create_task(store.ping())
        await asyncio.sleep(0.2)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call


# What is sent


@pytest.mark.parametrize("key", [None, "s3cret"])
async def test_the_key_travels_in_its_header(server: ScriptedEndpoint, key: str | None) -> None:
    server.script(json_body(_collections()))
    async with opened(server.url, api_key=key) as store:
        await store.ping()
    assert [request.headers.get("api-key") for request in server.received] == [key]


async def test_new_collections_are_as_planned(server: ScriptedEndpoint) -> None:
    server.script(
        says(404, "Not found: Collection doesn't exist!"),
        json_body({"result": True, "status": "ok", "time": 0.1}),
        json_body(_collection(384)),
        done,
    )
    index_id = uuid4()
    async with opened(
        server.url, plan=QdrantPlan(shards=6, replicas=3, write_consistency=2)
    ) as store:
        await store.create(index_id, 384)
    _, made, _, *indexed = server.received
    assert made.target == f"/collections/unmoved_{index_id}"
    wanted = {"shard_number": 6, "replication_factor": 3, "write_consistency_factor": 2}
    assert made.json.items() >= wanted.items()
    assert made.json["vectors"] == {"dense": {"size": 384, "distance": "Dot"}}
    assert made.json["sparse_vectors"] == {"sparse": {}}
    assert [request.json for request in indexed] == [
        {"field_name": "terms", "field_schema": "keyword"},
        {
            "field_name": "slice",
            "field_schema": {"type": "integer", "lookup": True, "range": False},
        },
    ]


async def test_requests_stay_below_what_a_server_takes(server: ScriptedEndpoint) -> None:
    server.script(
        json_body(_collection(1024)),
        done,
    )
    index_id = uuid4()
    long = {"source": "x", "meta": {"note": "ぬ" * 5_000, "n": 1}}
    draw = np.random.default_rng(1)
    points = [
        replace(point, terms=sparse(dict(zip(range(0, 10**9, 10**6), weights, strict=True))))
        for point, weights in zip(
            make_points(index_id, units(700, 1024)), draw.uniform(0, 2, (700, 1000)), strict=True
        )
    ]
    async with opened(server.url) as store:
        await store.upsert(index_id, points)
        await store.update_fields(index_id, {point.chunk_id: long for point in points})
        unlike = {p.chunk_id: long | {"n": n} for n, p in enumerate(points)}
        await store.update_fields(index_id, unlike)
    sent = [request for request in server.received if "points" in request.json]
    assert sum(len(request.json["points"]) for request in sent) == 700
    assert {len(p["vector"]["sparse"]["indices"]) for r in sent for p in r.json["points"]} == {1000}
    sizes = [int(request.headers.get("content-length", "0")) for request in server.received]
    assert 2 * 2**20 < max(sizes) < 12 * 2**20
    operations = [o for r in server.received for o in r.json.get("operations", [])]
    named = [
        chunk_id
        for operation in operations
        for chunk_id in operation["set_payload"]["filter"]["must"][0]["has_id"]
    ]
    assert len(named) == 1_400
    ordered = [
        request.json["field_name"] for request in server.received if "/index" in request.target
    ]
    assert len(ordered) == len(set(ordered)) == 3


async def test_the_order_of_only_so_many_fields_is_indexed(server: ScriptedEndpoint) -> None:
    server.script(
        json_body(_collection(8)),
        done,
    )
    index_id = uuid4()
    (point,) = make_points(index_id, units(1))
    async with opened(server.url) as store:
        for start in (0, 40):
            fields = {"meta": {f"field{n}": n for n in range(start, start + 40)}}
            await store.update_fields(index_id, {point.chunk_id: fields})
    assert sum("/index" in request.target for request in server.received) == 32


def found(weights: Mapping[int, float], score: float, number: int) -> dict[str, Any]:
    """Answer with one point as Qdrant does."""
    held = {"indices": list(weights), "values": list(weights.values())}
    return {
        "id": str(UUID(int=number)),
        "version": 3,
        "score": score,
        "payload": {"run_id": str(UUID(int=7)), "document_id": str(UUID(int=number // 2))},
        "vector": {"sparse": held},
    }


def answer(points: Sequence[Mapping[str, Any]]) -> Reply:
    return json_body({"result": {"points": points}, "status": "ok", "time": 0.1})


async def test_a_search_by_terms_asks_for_all_there_are_and_scores_them_itself(
    server: ScriptedEndpoint,
) -> None:
    # More ties than the first answer holds; sums that float32 got wrong; one that shares nothing.
    tied = [found({3: 0.5, 5: 1.0}, 2.0000002 - 1e-7 * (n % 3), 99 - n) for n in range(30)]
    last = [found({3: 0.25}, 0.5, 200), found({9: 1.0}, 0, 201)]
    server.script(json_body(_collection(8)), answer(tied[:12]), answer([*tied, *last]))
    async with opened(server.url) as store:
        hits = await store.search_terms(uuid4(), term_query({3: 2, 5: 1}), k=2)
    assert [(hit.chunk_id.int, hit.score) for hit in hits] == [(70, 2.0), (71, 2.0)]
    _, first, second = server.received
    assert [request.json["limit"] for request in (first, second)] == [12, 48]
    for request in (first, second):
        assert request.json["query"]["nearest"] == {"indices": [3, 5], "values": [2.0, 1.0]}
        assert request.json["using"] == "sparse"
        assert request.json["params"]["exact"] is True
        assert request.json["with_vector"] == ["sparse"]


async def test_only_the_vectors_that_are_wanted_are_asked_for(server: ScriptedEndpoint) -> None:
    page = {"result": {"points": [], "next_page_offset": None}, "status": "ok", "time": 0.1}
    some = {"result": [], "status": "ok", "time": 0.1}
    server.script(
        json_body(_collection(8)), json_body(page), json_body(page), json_body(some), answer([])
    )
    index_id = uuid4()
    async with opened(server.url) as store:
        assert await store.scan(index_id, vectors=True) == []
        assert await store.scan(index_id) == []
        assert await store.fetch(index_id, [uuid4()]) == []
        assert await store.search(index_id, units(1)[0], k=1, exact=True) == []
    asked = [r.json["with_vector"] for r in server.received if "with_vector" in r.json]
    assert asked == [["dense"], False, ["dense"], ["dense"]]


async def test_documents_of_many_points_are_asked_for_in_slices(server: ScriptedEndpoint) -> None:
    hundred_thousand = {"result": {"count": 100_000}, "status": "ok", "time": 0.1}
    parts = [[found({3: 1.0}, 1.0, n) for n in (10 * part, 10 * part + 1)] for part in range(11)]
    server.script(json_body(_collection(8)), json_body(hundred_thousand), *map(answer, parts))
    async with opened(server.url) as store:
        named = await store.documents_with(uuid4(), [5, 3, 3])
    assert {document.int for document in named} == {5 * part for part in range(11)}
    asked = [request.json for request in server.received if "query" in request.json]
    slices = [n for request in asked for n in request["filter"]["must"][0]["match"]["any"]]
    assert sorted(slices) == list(range(256))
    for request in asked:
        assert request["query"]["nearest"]["indices"] == [3, 5]
        assert request["params"]["exact"] is True
        assert not request.get("with_vector")


async def test_a_write_that_breaks_off_is_told(server: ScriptedEndpoint) -> None:
    server.script(json_body(_collection(1024)), done, done, reset)
    index_id = uuid4()
    async with opened(server.url) as store:
        with pytest.raises(StoreUnavailableError):
            await store.upsert(index_id, make_points(index_id, units(1_500, 1024)))


def _collections() -> dict[str, Any]:
    return {"result": {"collections": []}, "status": "ok", "time": 0.1}


def _collection(dimensions: int) -> dict[str, Any]:
    """Describe a collection as a server does."""
    return {
        "result": {
            "status": "green",
            "optimizer_status": "ok",
            "segments_count": 1,
            "config": {
                "params": {
                    "vectors": {"dense": {"size": dimensions, "distance": "Dot"}},
                    "sparse_vectors": {"sparse": {}},
                },
                "hnsw_config": {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000},
                "optimizer_config": {
                    "deleted_threshold": 0.2,
                    "vacuum_min_vector_number": 1_000,
                    "default_segment_number": 0,
                    "flush_interval_sec": 5,
                },
            },
            "payload_schema": {},
        },
        "status": "ok",
        "time": 0.1,
    }


# Answers over gRPC


class Aborting(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc ships no types
    """Ends every call with one status, and remembers what it was called with."""

    def __init__(self, code: grpc.StatusCode) -> None:
        self.code = code
        self.called: list[tuple[str, Mapping[str, str]]] = []

    def service(self, handler_call_details: Any) -> Any:
        metadata = dict(handler_call_details.invocation_metadata)
        self.called.append((handler_call_details.method, metadata))

        async def abort(_request: bytes, context: Any) -> None:
            await context.abort(self.code, "the reason\nand more")

        return grpc.unary_unary_rpc_method_handler(abort)


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        (grpc.StatusCode.UNAUTHENTICATED, StoreRefusedError, "UNMOVED_QDRANT_API_KEY"),
        (grpc.StatusCode.PERMISSION_DENIED, StoreRefusedError, "UNMOVED_QDRANT_API_KEY"),
        (grpc.StatusCode.NOT_FOUND, NoIndexError, "create it first: the reason$"),
        (grpc.StatusCode.INVALID_ARGUMENT, StoreRefusedError, "refused: the reason$"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, StoreUnavailableError, "UNMOVED_QDRANT_TIMEOUT"),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, StoreUnavailableError, "too many requests"),
        (grpc.StatusCode.INTERNAL, StoreUnavailableError, "INTERNAL: the reason$"),
        (grpc.StatusCode.UNIMPLEMENTED, StoreUnavailableError, "UNMOVED_QDRANT_GRPC_PORT"),
    ],
)
async def test_a_grpc_server_answers_no(
    code: grpc.StatusCode, expected: type[StoreError], reason: str
) -> None:
    handler = Aborting(code)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((handler,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with opened("http://127.0.0.1:1", grpc_port=port, api_key="s3cret") as store:
        with pytest.raises(expected, match=reason):
            await store.ping()
    await server.stop(None)
    ((method, metadata),) = handler.called
    assert method == "/qdrant.Collections/List"
    assert metadata["api-key"] == "s3cret"


async def test_a_slow_grpc_server_is_unavailable() -> None:
    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(3)
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with opened("http://127.0.0.1:1", grpc_port=port, timeout_s=1) as store:
        with pytest.raises(StoreUnavailableError, match="UNMOVED_QDRANT_TIMEOUT"):
            await store.ping()
    server.close()


async def test_a_web_server_on_the_grpc_port_is_unavailable(server: ScriptedEndpoint) -> None:
    server.script(body(b"<h1>It works</h1>"))
    port = int(server.url.rpartition(":")[2])
    async with opened(server.url, grpc_port=port, timeout_s=3) as store:
        with pytest.raises(StoreUnavailableError):
            await store.ping()


# Translation


def _classes(base: type[Exception]) -> set[type[Exception]]:
    return {base}.union(*(_classes(child) for child in base.__subclasses__()))


def _made(kind: type[Exception]) -> Exception:
    if kind is exceptions.UnexpectedResponse:
        return kind(418, "teapot", b"{}", httpx.Headers())
    if kind is exceptions.ResponseHandlingException:
        return kind(OSError("why\nnot"))
    if kind is client_exceptions.ResourceExhaustedResponse:
        return kind("why\nnot", 1)
    return kind("why\nnot")


def test_every_error_of_the_client_is_translated() -> None:
    kinds = _classes(exceptions.ApiException) | _classes(client_exceptions.QdrantException)
    assert len(kinds) >= 5
    for kind in kinds:
        ours = translated(_made(kind), "http://host")
        assert type(ours) is StoreUnavailableError
        assert "http://host" in str(ours)
        assert "\n" not in str(ours)


@pytest.mark.parametrize("code", grpc.StatusCode)
def test_every_status_of_grpc_is_translated(code: grpc.StatusCode) -> None:
    error = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), "why\nnot")
    ours = translated(error, "http://host")
    assert isinstance(ours, StoreError)
    assert "\n" not in str(ours)
