"""A follow-up question made into one query: by the model, or by a rule that says what it did.

The rule joins the rare words of the last question to the follow-up. It understands nothing; it
keeps "and on Sundays?" from being searched for alone.
"""

import re
from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncEngine

from search_app.answering.types import Turn
from search_app.catalog import lexicons
from search_app.catalog.engine import reading
from search_app.catalog.serving import Serving
from search_app.lexical import analyse, term_id, tokens

MOST_WORDS = 6
"""Words of the last question that join the follow-up."""

_WORD = re.compile(
    r"[A-Za-z0-9][\w.+#'’-]*[\w+#]|[A-Za-z0-9]"
    # Content words of Japanese are mostly written in kanji and katakana.
    r"|[\u3400-\u9fff々〆]+|[\u30a1-\u30fa\u30fc]{2,}|[\uac00-\ud7a3]+"
)
_ASKING = frozenset(
    re.findall(
        r"\S+",
        "what which who whom whose when where why how does did do can could should would has have "
        "had is are was were much many any some about tell me please you your we our my i it its "
        "he she 何 誰 方 場合 事 物 時",
    )
)


async def joined_query(
    engine: AsyncEngine, serving: Serving, question: str, conversation: Sequence[Turn]
) -> str:
    """Give the follow-up with the rare words of the last question that it has not itself."""
    last = conversation[-1].question
    here = {token.term for token in tokens(question)}
    words = []
    for word in dict.fromkeys(match[0] for match in _WORD.finditer(last)):
        terms = {token.term for token in tokens(word)}
        if word.casefold() not in _ASKING and terms and not terms <= here:
            words.append((word, terms))
    if len(words) > MOST_WORDS:
        async with reading(engine) as connection:
            counts = analyse(last).counts
            known = await lexicons.frequencies(connection, serving.index.id, counts)
        rarity = {word: min(known.get(term_id(term), 0) for term in terms) for word, terms in words}
        rare = set(sorted(rarity, key=lambda word: rarity[word])[:MOST_WORDS])
        words = [(word, terms) for word, terms in words if word in rare]
    return " ".join([question, *(word for word, _ in words)])
