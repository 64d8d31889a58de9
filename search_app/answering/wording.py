"""What an answer says of its own: in Japanese to Japanese questions, in English to others."""

import re
from typing import Literal

Language = Literal["en", "ja"]

_KANA = re.compile("[\u3041-\u3096\u30a1-\u30fa\uff66-\uff9d]")
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile("[A-Za-z]{2,}")

NOT_FOUND = {
    "en": "I did not find this in the documents.",
    "ja": "文書の中には見つかりませんでした。",
}
NO_PASSAGES = {
    "en": "There are no passages to answer from.",
    "ja": "回答のもとになる箇所がありません。",
}
FELL_BACK = {
    "en": "The model did not answer, so these are quotations from the passages.",
    "ja": "モデルから回答が得られなかったため、該当箇所の引用を示します。",
}
BROKE_OFF = {
    "en": "The model broke off here.",
    "ja": "モデルの回答はここで途切れました。",
}
CUT = {
    "en": "The answer was cut here: it reached the limit.",
    "ja": "上限に達したため、回答はここで打ち切られました。",
}


def language_of(text: str) -> Language:
    """Say whether a question is in Japanese: it has kana, or more Han than it has Latin words."""
    if _KANA.search(text):
        return "ja"
    return "ja" if len(_HAN.findall(text)) > len(_LATIN_WORD.findall(text)) else "en"
