"""The port of rerankers: a query and texts in, a score for each text out, nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

from search_app.types import Vector


class Reranker(ABC):
    """Judges how well texts answer a query, each by reading both together.

    Scores have no scale of their own: they order the texts of one query, and are not to be
    compared between queries or rerankers.
    """

    spec: str
    """How a user names this reranker, e.g. ``endpoint:jina-reranker-v2``; never holds a key."""

    @abstractmethod
    async def rerank(self, query: str, texts: Sequence[str]) -> Vector:
        """Score texts, none of them empty, for a query; no texts are answered without asking.

        Returns:
            (n,) float32, score i belongs to ``texts[i]``, higher is better, all values finite.

        Raises:
            ConfigurationError: there is no such model, or it cannot be loaded.
            RerankerUnavailableError: no answer in time.
            RerankerRefusedError: the provider says no.
            RerankerResponseError: wrong count, a text without its one score, NaN or infinity.
        """

    async def aclose(self) -> None:
        """Release connections and threads. Using the reranker afterwards is an error."""
        return
