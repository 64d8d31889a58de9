"""Log lines go to standard error as it is, not as it was when logging was set up."""

import io
import sys

import pytest
import structlog

from search_app.console import configure_logging


def test_a_closed_standard_error_of_before_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before, after = io.StringIO(), io.StringIO()
    try:
        monkeypatch.setattr(sys, "stderr", before)
        configure_logging("info")
        log = structlog.get_logger()
        log.info("first")
        monkeypatch.setattr(sys, "stderr", after)
        before.close()
        log.info("second")
    finally:
        structlog.reset_defaults()
    assert "second" in after.getvalue()
    assert "first" not in after.getvalue()
