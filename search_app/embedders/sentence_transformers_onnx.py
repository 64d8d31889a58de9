"""Models of sentence-transformers run by ONNX Runtime, where they come with an ONNX file.

The library has an ONNX backend of its own, which needs optimum-onnx; its releases so far cannot be
installed beside the transformers 5 that the library itself needs. So the file runs in the engine
of ``onnx:FOLDER``, which needs neither torch nor the library: the vectors are the same.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path

from search_app.embedders.onnx import OnnxEmbedder, require_packages
from search_app.embedders.onnx_files import OnnxFiles
from search_app.embedders.sentence_transformers_files import (
    ONNX_MODELS,
    find_files,
    folder_of,
)
from search_app.errors import ConfigurationError
from search_app.types import JSON

PROVIDER = "sentence-transformers"


class SentenceTransformersOnnxEmbedder(OnnxEmbedder):
    """Embeds with the ONNX file of a model, named as for sentence-transformers.

    ``model`` is a folder or a name of the Hugging Face Hub; everything else is as for
    ``OnnxEmbedder``. Of a name, the ONNX file is fetched instead of the weights for torch.

    Raises:
        ConfigurationError: no model is named, a package is missing, or a folder is not there.
    """

    provider = PROVIDER

    def __init__(
        self,
        model: str,
        *,
        batch_size: int = 1,
        threads: int = 0,
        dimensions: int | None = None,
        cache_dir: Path | None = None,
    ) -> None:
        self._cache_dir = cache_dir
        super().__init__(model, batch_size=batch_size, threads=threads, dimensions=dimensions)

    def _checked(self, name: str) -> str:
        if not name:
            raise ConfigurationError(f"the embedder names no model: write {PROVIDER}:NAME_OR_PATH")
        require_packages(f"{PROVIDER}:NAME_OR_PATH with the backend onnx")
        folder = folder_of(name)
        if folder is None and importlib.util.find_spec("huggingface_hub") is None:
            raise ConfigurationError(
                f"{PROVIDER}:{name}: names of the Hugging Face Hub need the package "
                "huggingface_hub: pip install huggingface_hub"
            )
        return str(folder) if folder else name

    def _at_hand(self) -> Path | None:
        return folder_of(self._name)

    def _locate(self) -> Path:
        folder = find_files(self._name, self._cache_dir, "onnx").folder
        if not any((folder / model).is_file() for model in ONNX_MODELS):
            raise ConfigurationError(
                f"{self.spec}: it comes with no ONNX file, neither {' nor '.join(ONNX_MODELS)}: "
                "set UNMOVED_SENTENCE_TRANSFORMERS_BACKEND=torch, or export it there"
            )
        return folder

    def _model_name(self, files: OnnxFiles) -> str:
        return files.folder.name if folder_of(self._name) else self._name

    def _more_settings(self) -> Mapping[str, JSON]:
        return {"backend": "onnx"}
