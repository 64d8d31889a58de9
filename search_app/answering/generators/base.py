"""The port of generators: a question and passages in, an answer out, piece by piece."""

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from search_app.answering.types import PassageGiven, Sentence, Turn

Similar = Callable[[Sequence[str]], Awaitable[NDArray[np.float64] | None]]
"""Gives the similarity of each text to the question, shape (n,); None where nothing measures it."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What an answer is written from.

    ``query`` is the question with what it refers to put in. ``rarity`` says of terms of the
    question how much they tell, by the term.
    """

    question: str
    query: str
    passages: Sequence[PassageGiven]
    conversation: Sequence[Turn]
    similar: Similar
    rarity: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Spent:
    """Tokens, by the word of the model's server; ``cut`` where it stopped at a limit of its own."""

    prompt: int | None = None
    completion: int | None = None
    cut: bool = False


Piece = str | Sentence | Spent
"""Some of a model's text, a sentence that needs no checking, or what it took."""


class Generator(ABC):
    """Writes answers.

    Text that it yields is believed in nothing: citations are checked, and what a page would act on
    is taken out. Closing the iterator stops the model.
    """

    spec: str
    """How a user names this generator, e.g. ``chat:qwen3``; never holds a key."""

    model: str | None = None
    """The name of the model that writes; None where there is none."""

    @abstractmethod
    def write(self, task: Task) -> AsyncIterator[Piece]:
        """Write an answer.

        Raises:
            GeneratorUnavailableError: no answer, or none within the time.
            GeneratorRefusedError: the provider says no.
            GeneratorResponseError: what came cannot be used, or it ended before the answer did.
        """

    async def rewrite(self, question: str, conversation: Sequence[Turn]) -> str | None:
        """Make one query of a conversation; None where this generator cannot.

        Raises:
            GeneratorError: as ``write``.
        """
        del question, conversation
        return None

    async def models(self) -> list[str]:
        """Name the models that could be asked for.

        Raises:
            GeneratorError: as ``write``.
        """
        return []

    async def aclose(self) -> None:
        """Release connections. Using the generator afterwards is an error."""
        return
