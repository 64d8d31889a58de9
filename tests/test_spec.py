"""What a user may write to name an embedder."""

import pytest

from search_app.bootstrap import make_embedder
from search_app.config import Settings
from search_app.embedders.spec import Spec
from search_app.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bundled", Spec(provider="bundled", model="")),
        ("openai:m", Spec(provider="openai", model="m")),
        ("openai:a/b:c?dimensions=256", Spec(provider="openai", model="a/b:c", dimensions=256)),
    ],
)
def test_parts(text: str, expected: Spec) -> None:
    assert Spec.parse(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "openai:m?",
        "openai:m?size=3",
        "openai:m?dimensions=",
        "openai:m?dimensions=0",
        "openai:m?dimensions=-1",
        "openai:m?dimensions=２",
        "openai:m?dimensions=3&x=1",
    ],
)
def test_what_cannot_be_meant(text: str) -> None:
    with pytest.raises(ConfigurationError, match="dimensions"):
        Spec.parse(text)


def test_a_provider_without_a_choice_says_so() -> None:
    with pytest.raises(ConfigurationError, match="bundled has no choice of dimensions"):
        make_embedder("bundled?dimensions=3", Settings())


def test_the_spec_comes_before_the_setting() -> None:
    settings = Settings(openai_base_url="http://127.0.0.1:9/v1", openai_dimensions=4)
    assert make_embedder("openai:m?dimensions=8", settings).spec == "openai:m?dimensions=8"
    assert make_embedder("openai:m", settings).spec == "openai:m?dimensions=4"
