"""Long files: what is done for one part of a text must not grow with all of it."""

from typing import Any

from ingest.loaders.rst import rst_as_markdown
from ingest.plain import plain_blocks

PARTS = 300
ONCE = 20
"""How often, at most, a part of a text is copied; by hundreds of parts it would be hundreds."""


class Text(str):
    """A text that counts the characters that are taken out of it."""

    __slots__ = ("copied",)
    copied: int

    def __getitem__(self, key: Any) -> str:
        taken = super().__getitem__(key)
        self.copied = getattr(self, "copied", 0) + len(taken)
        return taken


class Lines(list[str]):
    """Lines that count how many of them are taken out together."""

    copied = 0

    def __getitem__(self, key: Any) -> Any:
        taken = super().__getitem__(key)
        self.copied += len(taken) if isinstance(key, slice) else 0
        return taken


def test_a_text_is_not_copied_for_each_of_its_titles() -> None:
    text = Text("A title\n=======\n\nSome words.\n\n" * PARTS)
    assert sum(block.level == 1 for block in plain_blocks(text)) == PARTS
    assert text.copied < ONCE * len(text)


def test_restructured_text_is_not_copied_for_each_of_its_blocks() -> None:
    lines = Lines(
        (".. note:: Beware\n\n   of it\n\n=== ===\na   b\n=== ===\n\n" * PARTS).split("\n")
    )
    written = list(rst_as_markdown(lines))
    assert written.count("of it") == PARTS
    assert lines.copied < ONCE * len(lines)
