"""What probes of embedders found on this machine, kept in the data directory beside the database.

Determinism is a matter of the machine as much as of the model, so each machine keeps its own.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile

from search_app.probing import Probe
from search_app.types import JSON

FOLDER = "probes"
_NAME_LENGTH = 16


@dataclass(frozen=True, kw_only=True)
class KeptProbe:
    """The outcome of the last probe of a spec; ``noise`` is the largest 1 − cos that was met."""

    spec: str
    at: datetime
    model: str
    dimensions: int
    unit: bool
    stability: str
    noise: float
    limit: str
    words: int

    def as_json(self) -> dict[str, JSON]:
        """Give it as it is kept and as ``--json`` prints it."""
        return {**vars(self), "at": self.at.isoformat()}


def keep(data_dir: Path, measured: Probe) -> KeptProbe:
    """Keep a probe in place of an earlier one of the same spec.

    Raises:
        OSError: the data directory cannot be written to.
    """
    kept = KeptProbe(
        spec=measured.spec,
        at=datetime.now(UTC),
        model=f"{measured.identity.provider}/{measured.identity.model}",
        dimensions=measured.identity.dimensions,
        unit=measured.norms.unit,
        stability=measured.stability.value,
        noise=max((noise.largest for noise in measured.noise.values()), default=0.0),
        limit=measured.reach.limit.value,
        words=measured.reach.words,
    )
    folder = data_dir / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    name = sha256(kept.spec.encode("utf-8", "surrogatepass")).hexdigest()[:_NAME_LENGTH]
    # Whole or not at all: others may be reading, or probing too.
    with NamedTemporaryFile("w", dir=folder, delete=False, encoding="utf-8") as file:
        json.dump(kept.as_json(), file)
    Path(file.name).replace(folder / f"{name}.json")
    return kept


def kept_probes(data_dir: Path) -> Sequence[KeptProbe]:
    """List what was kept, by spec; a file that cannot be read is no probe of ours."""
    found = []
    for path in (data_dir / FOLDER).glob("*.json"):
        try:
            row = json.loads(path.read_bytes())
            found.append(KeptProbe(**{**row, "at": datetime.fromisoformat(row["at"])}))
        except (OSError, ValueError, TypeError, KeyError):
            continue
    return sorted(found, key=lambda kept: kept.spec)
