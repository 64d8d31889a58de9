"""What tests of hosted embedders share."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from search_app.embedders.hosted.transport import Plan

_OF_PLAN = {each.name for each in fields(Plan)}


def with_plan(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Gather what is the plan's into one; without a word there are no retries."""
    plan = {name: value for name, value in arguments.items() if name in _OF_PLAN}
    others = {name: value for name, value in arguments.items() if name not in _OF_PLAN}
    few = {"max_retries": 0, "throttle_retries": plan.get("max_retries", 0)}
    return {**others, "plan": Plan(**{**few, **plan})}
