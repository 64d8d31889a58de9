"""The JSON of provenance: the record of a vector, and what embedding its text again gave."""

from datetime import datetime
from uuid import UUID

from pydantic import ConfigDict

from search_app.provenance import Likeness
from search_app.types import IndexState
from search_app.web.provenance_examples import EXAMPLES
from search_app.web.schemas import Model


def _example(name: str) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": EXAMPLES[name]})


class ProvenanceJson(Model):
    """The record of a vector. Hashes are SHA-256 in hexadecimal.

    ``sent`` is the text that was sent, prefix included; where ``sent_as_recorded`` is false, it is
    what would be sent now. ``sent_hash`` is of the text that was sent, ``received_hash`` of the
    float32 bytes that came back, ``stored_hash`` of those in the store; ``norm`` is the length
    before normalising. ``batch_position`` counts from 0. A text that was too long for the model
    was sent in several ``pieces``, and its vector is their mean. A vector that was not embedded but
    taken over from an equal text names the run that did so in ``copied_by_run_id``. A model that is
    ``model_unverified`` was only declared when its vectors were imported, since it did not answer.
    """

    model_config = _example("provenance")

    chunk_id: UUID
    document_id: UUID
    collection: str
    index_id: UUID
    index_state: IndexState
    store: str
    model_version_id: UUID
    model: str
    model_unverified: bool
    run_id: UUID
    copied_by_run_id: UUID | None
    sent: str
    sent_as_recorded: bool
    sent_hash: str
    received_hash: str
    stored_hash: str
    norm: float
    batch_size: int
    batch_position: int
    pieces: int
    embedded_at: datetime | None


class VerificationJson(Model):
    """A passage that was embedded again, compared with the vector that is stored.

    ``likeness`` is ``equal`` (to the bit), ``within`` the noise floor, ``new_build`` (further, but
    no further than two builds of one model) or ``beyond`` that. ``distance`` is 1 − cos.
    ``intact`` says that the stored bytes are those that were recorded.
    """

    model_config = _example("verification")

    chunk_id: UUID
    index_id: UUID
    model: str
    cosine: float
    distance: float
    likeness: Likeness
    noise_floor: float
    intact: bool
    holds: bool
