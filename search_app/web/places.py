"""Where a source lies, as a page shows it: its folder and its file, or that it was uploaded."""

from dataclasses import dataclass
from pathlib import PurePath
from uuid import UUID

from search_app.config import Settings
from search_app.uploads import upload_folder
from search_app.web.hits import source_parts


@dataclass(frozen=True, kw_only=True)
class SourcePlace:
    """A path in two parts; what was uploaded lies in a folder of ours, which says nothing."""

    folder: str
    file: str
    uploaded: bool


def place_of(settings: Settings, source: str, uri: str | None = None) -> SourcePlace:
    """Say where a source lies, or a document of it, whose uri goes on with the record's key."""
    folder, file = source_parts(source, uri or source)
    # Whichever collection they belong to, the folders of uploads lie in one.
    uploads = upload_folder(settings, UUID(int=0)).parent
    uploaded = "://" not in folder and PurePath(folder).parent == uploads
    return SourcePlace(folder="" if uploaded else folder, file=file, uploaded=uploaded)
