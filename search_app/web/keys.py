"""The key that signs form tokens: the one configured, or one made once and kept."""

import os
import secrets
from pathlib import Path
from tempfile import NamedTemporaryFile

from search_app.config import Settings
from search_app.errors import ConfigurationError

FILE = "secret_key"
_BYTES = 32


def load_key(settings: Settings) -> bytes:
    """Get the key, making it where there is none yet; its file is for the owner alone.

    Raises:
        ConfigurationError: the data directory cannot be written, or the file is no key.
    """
    if settings.secret_key is not None and settings.secret_key.get_secret_value():
        return settings.secret_key.get_secret_value().encode()
    path = settings.data_dir / FILE
    try:
        settings.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.exists():
            _make(path)
        key = bytes.fromhex(path.read_text(encoding="ascii"))
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"the key file {path} cannot be used ({exc}); set UNMOVED_SECRET_KEY or remove it"
        ) from exc
    if len(key) < _BYTES:
        raise ConfigurationError(f"the key file {path} is too short; remove it")
    return key


def _make(path: Path) -> None:
    """Write the file whole or not at all; of two processes, both use the one that was first."""
    # NamedTemporaryFile makes its file readable by the owner alone.
    with NamedTemporaryFile("w", dir=path.parent, prefix=FILE, encoding="ascii") as temporary:
        temporary.write(secrets.token_hex(_BYTES))
        temporary.flush()
        os.fsync(temporary.fileno())
        try:
            os.link(temporary.name, path)
        except FileExistsError:
            return
