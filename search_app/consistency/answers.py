"""Questions that were answered: would they still rest on the same passages? Retrieval alone.

No model is paid for it, and nothing of it enters the verdict: documents change, and answers are to
change with them.
"""

from search_app.answering.keeping import from_kept
from search_app.answering.stability import Again, moved_since
from search_app.bootstrap import Services
from search_app.catalog import answers
from search_app.catalog.engine import reading
from search_app.consistency.subject import Subject
from search_app.errors import EmbedderError, InvalidInputError, StoreError
from search_app.types import IndexState

MOST = 40
"""Logged questions that are looked into."""


async def asked_again(
    services: Services, subject: Subject, *, free: bool, not_checked: list[str]
) -> Again | None:
    """Retrieve again for the latest questions; None where none was logged, or none can be asked.

    Args:
        services: what retrieves.
        subject: what is checked; only the index that answers questions is asked.
        free: whether embedding costs nothing; else only vectors that are kept are used.
        not_checked: takes what could not be looked into.
    """
    if subject.index.state is not IndexState.ACTIVE:
        return None
    async with reading(services.engine) as connection:
        kept = await answers.latest_of(connection, subject.collection, MOST)
    if not kept:
        return None
    try:
        return await moved_since(
            services.answerer.retriever, [from_kept(each) for each in kept], embed=free
        )
    except (EmbedderError, StoreError, InvalidInputError) as exc:
        not_checked.append(f"answers: {exc}")
        return None
