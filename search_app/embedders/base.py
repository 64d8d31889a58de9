"""The port of embedders: text in, vectors out, nothing else."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

from search_app.types import Kind, Matrix, ModelIdentity


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a model takes; None where nobody says.

    ``text_tokens`` is the most of one text, prefix included, ``request_tokens`` of all texts of a
    request together, both counted as the model counts. How many texts a request takes is the
    ``batch_size`` of the embedder.
    """

    text_tokens: int | None = None
    request_tokens: int | None = None


class Embedder(ABC):
    """Turns texts into vectors.

    An embedder adds its own document or query prefix, sends each call of ``embed`` as one request,
    and returns vectors as they were received: not normalised, not reordered by guess. Whether two
    embedders are the same model is decided from their vectors (identity.py), not from here.
    """

    spec: str
    """How a user names this embedder, e.g. ``openai:text-embedding-3-small``; never holds a key."""

    batch_size: int = 1
    """Most texts that ``embed`` takes in one call."""

    concurrency: int = 1
    """Most calls of ``embed`` that are worth having under way at once."""

    limits: Limits = Limits()
    """What the model takes."""

    unit: bool | None = None
    """Whether the provider promises vectors of length 1; None where it says nothing."""

    not_guaranteed: str = ""
    """What nobody who uses this embedder can rely on; a sentence for its users."""

    @abstractmethod
    async def describe(self) -> ModelIdentity:
        """Say what this embedder is, dimensions observed; may send one text to find out.

        Raises:
            EmbedderError: the provider cannot be reached, refuses, or answers nonsense.
        """

    @abstractmethod
    async def embed(self, texts: Sequence[str], kind: Kind) -> Matrix:
        """Embed 1 to ``batch_size`` non-empty texts.

        Returns:
            (n, d) float32, row i belongs to ``texts[i]``, all values finite.

        Raises:
            EmbedderUnavailableError: no answer after the adapter's own retries.
            EmbedderRefusedError: the provider says no.
            EmbedderResponseError: wrong count, wrong shape, NaN or infinity.
        """

    @abstractmethod
    def text_sent(self, text: str, kind: Kind) -> str:
        """Give the exact text, prefix included, that stands behind the vector of ``text``."""

    def tells_code(self) -> bool:
        """Say whether a query for source code is sent otherwise than any other query."""
        return self.text_sent("", "code") != self.text_sent("", "query")

    def count_tokens(self, text: str, kind: Kind) -> int | None:
        """Count the tokens of what is sent for ``text``; None where no tokenizer is at hand."""
        del text, kind
        return None

    async def aclose(self) -> None:
        """Release connections and threads. Using the embedder afterwards is an error."""
        return
