"""What models cost: the shipped table, the user's own, and the one setting before both."""

from pathlib import Path

import pytest

from search_app.bootstrap import prices_in_force
from search_app.config import load_settings
from search_app.errors import ConfigurationError
from search_app.prices import SHIPPED, Origin, load_prices


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "prices.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_every_shipped_price_says_when_and_where() -> None:
    table = load_prices().table
    assert table
    for spec, price in table.items():
        assert price.amount > 0, spec
        assert price.origin is Origin.SHIPPED, spec
        assert price.noted, spec
        assert price.source.startswith("https://"), spec
    assert "check" in SHIPPED.read_text(encoding="utf-8")


def test_what_runs_here_is_free_and_what_nobody_names_is_unknown() -> None:
    prices = load_prices(every=3.0)
    for spec in ("bundled", "hashing:64", "onnx:/models/e5", "sentence-transformers:any"):
        price = prices.of(spec)
        assert price is not None
        assert (price.amount, price.origin) == (0.0, Origin.FREE)
    assert load_prices().of("openai:nobody-knows") is None
    every = prices.of("openai:nobody-knows")
    assert every is not None
    assert (every.amount, every.origin, every.of(500_000)) == (3.0, Origin.SETTING, 1.5)


def test_dimensions_do_not_change_a_price() -> None:
    prices = load_prices()
    assert prices.of("openai:text-embedding-3-small?dimensions=256") == prices.of(
        "openai:text-embedding-3-small"
    )


def test_a_users_table_comes_first(tmp_path: Path) -> None:
    path = written(
        tmp_path, '["openai:text-embedding-3-small"]\nprice = 7\n["openai:own"]\nprice=1.5'
    )
    prices = load_prices(path, elsewhere=frozenset(["openai"]))
    own = prices.of("openai:text-embedding-3-small")
    assert own is not None
    assert (own.amount, own.origin) == (7.0, Origin.FILE)
    # What the user names counts wherever the model is; list prices do not.
    assert prices.of("openai:own") is not None
    assert prices.of("openai:text-embedding-3-large") is None
    assert prices.of("voyage:voyage-3.5") is not None


def test_currencies_are_not_mixed(tmp_path: Path) -> None:
    path = written(tmp_path, 'currency = "JPY"\n["openai:own"]\nprice = 3')
    prices = load_prices(path)
    assert prices.currency == "JPY"
    assert prices.of("openai:text-embedding-3-small") is None


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[openai", "cannot be read"),
        ('"openai:x" = 3', "price of a million tokens"),
        ('["openai:x"]\nprice = "0.02"', "price of a million tokens"),
        ('["openai:x"]\nprice = -1', "is no price"),
        ('["openai:x"]\nprice = nan', "is no price"),
        ('["openai:x"]\nprice = true', "price of a million tokens"),
        ('["openai:x"]\nprice = 1\ncents = 2', "'cents' means nothing"),
        ("currency = 3", "currency must be a text"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ConfigurationError, match="UNMOVED_PRICES") as refused:
        load_prices(written(tmp_path, text))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.toml"):
        load_prices(tmp_path / "nowhere.toml")


def test_settings_decide(tmp_path: Path) -> None:
    path = written(tmp_path, '["openai:own"]\nprice = 3')
    settings = load_settings(prices=path, openai_base_url="http://localhost:8080/v1")
    prices = prices_in_force(settings)
    assert prices.of("openai:own") is not None
    assert prices.of("openai:text-embedding-3-small") is None
    official = load_settings(openai_base_url="https://api.openai.com/v1")
    assert prices_in_force(official).of("openai:text-embedding-3-small") is not None
    with_price = load_settings(prices=path, embedding_price=0.5)
    found = prices_in_force(with_price).of("openai:own")
    assert found is not None
    assert found.amount == 0.5
