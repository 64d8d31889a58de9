"""What a run did, counted, and how it tells those who watch."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Protocol
from uuid import UUID

from search_app.embedders.metering import Sent
from search_app.embedders.metering import as_json as sent_json
from search_app.types import JSON, Failure, RunStatus

KEPT_FAILURES = 1000
"""Most failures that a report repeats; the catalog keeps all of them."""
KEPT_KINDS = 50
"""Most kinds of what was skipped that are told apart."""


NONE = UUID(int=0)
"""The id of no index and no model version."""


@dataclass(kw_only=True)
class DocumentCounts:
    """Documents by what became of them."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    failed: int = 0
    skipped: int = 0
    """Found in folders and nothing to read; no failure."""


@dataclass(kw_only=True)
class ChunkCounts:
    """Chunks by where their vectors came from; reused ones were not sent to the model again."""

    embedded: int = 0
    reused: int = 0
    removed: int = 0


@dataclass(kw_only=True)
class Counts:
    """The running totals of a run."""

    documents: DocumentCounts = field(default_factory=DocumentCounts)
    chunks: ChunkCounts = field(default_factory=ChunkCounts)
    sent: Sent = field(default_factory=Sent)
    currency: str = ""
    """What the cost of what was sent is in."""
    skipped: Counter[str] = field(default_factory=Counter)
    """What was skipped, by kind."""

    def skip(self, kinds: Mapping[str, int]) -> None:
        """Count what was skipped; of very many kinds the last are counted together."""
        for kind, number in kinds.items():
            known = kind in self.skipped or len(self.skipped) < KEPT_KINDS
            self.skipped[kind if known else "other"] += number
            self.documents.skipped += number

    def as_json(self) -> dict[str, JSON]:
        """Give the totals in the shape that users and the catalog get."""
        return {
            "documents": asdict(self.documents),
            "chunks": asdict(self.chunks),
            "sent": sent_json(self.sent),
            "currency": self.currency,
        }

    def add(self, counted: Mapping[str, JSON]) -> None:
        """Add what ``as_json`` gave; kinds of what was skipped are not in it."""
        for mine, more in (
            (self.documents, counted.get("documents", {})),
            (self.chunks, counted.get("chunks", {})),
            # Runs from before it was counted have none.
            (self.sent, counted.get("sent", {})),
        ):
            for name, number in more.items():
                setattr(mine, name, getattr(mine, name) + number)


@dataclass(frozen=True, kw_only=True)
class IngestReport:
    """The outcome of one run. ``seconds`` is wall time; ``warnings`` are one line each.

    ``skipped`` counts what was found in folders and is nothing to read, by kind, e.g. ``.png``.
    ``sent`` is what the model was sent, its cost in ``currency``. ``stopped`` says why the run
    ended before all was in, where it kept to a budget. Index and model version are ``NONE`` where
    there was nothing to make the first index of a collection for.
    """

    run_id: UUID
    collection: str
    index_id: UUID
    model_version_id: UUID
    documents: DocumentCounts
    chunks: ChunkCounts
    sent: Sent
    currency: str
    skipped: Mapping[str, int]
    errors: Sequence[Failure]
    warnings: Sequence[str]
    stopped: str | None
    seconds: float

    def as_json(self) -> dict[str, JSON]:
        """Give the report as ``ingest add --json`` prints it."""
        return {
            "run_id": str(self.run_id),
            "collection": self.collection,
            "index_id": None if self.index_id == NONE else str(self.index_id),
            "model_version_id": (
                None if self.model_version_id == NONE else str(self.model_version_id)
            ),
            "documents": asdict(self.documents),
            "chunks": asdict(self.chunks),
            "sent": sent_json(self.sent),
            "currency": self.currency,
            "skipped": dict(self.skipped),
            "errors": [asdict(failure) for failure in self.errors],
            "warnings": list(self.warnings),
            "stopped": self.stopped,
            "seconds": round(self.seconds, 3),
        }


def ending(
    documents: DocumentCounts, failures: Sequence[Failure], stopped: str | None = None
) -> tuple[RunStatus, str | None]:
    """Say how a run that came to its end counts, and why it counts as failed or was ``stopped``."""
    if stopped is not None:
        return RunStatus.INTERRUPTED, stopped
    if not documents.failed:
        return RunStatus.SUCCEEDED, None
    if documents.added or documents.updated or documents.unchanged or documents.removed:
        return RunStatus.PARTIAL, None
    first = f"{failures[0].source}: {failures[0].reason}"
    if documents.failed == 1:
        return RunStatus.FAILED, f"nothing could be read: {first}"
    return RunStatus.FAILED, f"none of {documents.failed:,} could be read; the first: {first}"


class Progress(Protocol):
    """What a run tells while it works; every method returns at once."""

    def waiting(self) -> None:
        """Another run writes to the collection; this one waits for it."""

    def read(self, *, uri: str, size: int) -> None:
        """A source was read to its end, or skipped as unchanged; ``size`` in bytes."""

    def planned(self, chunks: int) -> None:
        """So many more chunks are to be embedded."""

    def written(self, *, embedded: int, reused: int) -> None:
        """So many more chunks are in."""

    def failed(self, failure: Failure) -> None:
        """A source or record could not be ingested."""

    def warned(self, text: str) -> None:
        """Something is worth knowing, and the run goes on."""


class Silent:
    """Progress that nobody watches."""

    def waiting(self) -> None:
        """Say nothing."""

    def read(self, *, uri: str, size: int) -> None:
        """Say nothing."""

    def planned(self, chunks: int) -> None:
        """Say nothing."""

    def written(self, *, embedded: int, reused: int) -> None:
        """Say nothing."""

    def failed(self, failure: Failure) -> None:
        """Say nothing."""

    def warned(self, text: str) -> None:
        """Say nothing."""
