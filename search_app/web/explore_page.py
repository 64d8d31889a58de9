"""What can be looked at besides searching: one page, so that the navigation stays short."""

from collections.abc import Mapping
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response

from search_app.web.needs import may
from search_app.web.rendering import render
from search_app.web.translation import gettext_noop

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, kw_only=True)
class Place:
    """A page, its name and what it is for."""

    name: str
    about: str


PLACES: Mapping[str, Place] = {
    "/clusters": Place(
        name=gettext_noop("Clusters"),
        about=gettext_noop("What the documents are about: passages of like meaning together."),
    ),
    "/map": Place(
        name=gettext_noop("Map"),
        about=gettext_noop("All passages as points; what means similar things lies together."),
    ),
    "/groups": Place(
        name=gettext_noop("Groups"),
        about=gettext_noop("Documents by a field, and what is typical of each group."),
    ),
    "/outliers": Place(
        name=gettext_noop("Outliers"),
        about=gettext_noop("Passages like no other, repeated ones, and documents out of place."),
    ),
    "/diversity": Place(
        name=gettext_noop("Diversity"),
        about=gettext_noop("How much passages differ: of all, of a search, of periods."),
    ),
    "/labels": Place(
        name=gettext_noop("Labels"),
        about=gettext_noop("Values suggested for documents that lack one, and doubtful ones."),
    ),
    "/exclusions": Place(
        name=gettext_noop("Left out"),
        about=gettext_noop("What searches leave out, since when and why."),
    ),
    "/answers": Place(
        name=gettext_noop("Answers"), about=gettext_noop("Answers that are kept, as given.")
    ),
    "/failures": Place(
        name=gettext_noop("Failures"), about=gettext_noop("Files that could not be read, and why.")
    ),
    "/access": Place(
        name=gettext_noop("Access"), about=gettext_noop("Keys, what they may do, and changes.")
    ),
}
"""In the order in which they are listed; those that are not served, or not allowed, are not."""


@router.api_route("/explore", methods=["GET", "HEAD"])
async def explore_page(request: Request) -> Response:
    """List what whoever asks may look at."""
    places = {address: place for address, place in PLACES.items() if may("GET", address)}
    return render(request, "explore.html", places=places)
