"""The encoder of multilingual-e5-small as an ONNX graph, built in memory from the weight file.

Standard operators only: contrib operators picked by hand were no faster. Arithmetic is float32: the
4-bit weights are widened once, when the session is made. Widening and session take 0.4 s together,
so there is no cache on disk to keep whole.
"""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from search_app.embedders.e5_weights import E5Weights
from search_app.embedders.onnx_session import SLOWER, runtime_errors, session_options
from search_app.errors import ConfigurationError, EmbedderUnavailableError
from search_app.types import Vector

if TYPE_CHECKING:
    import onnx
    import onnxruntime

OPSET = 23
"""The first opset with an Attention operator."""

_SPECIAL_TOKENS = 2


class E5Encoder:
    """Runs the encoder on one text at a time, in the calling thread.

    One text a run makes a vector independent of its company, bit for bit, and on a CPU it is also
    the fastest: a batch pads its texts to the longest. One thread a run makes it independent of
    the number of threads; several cores are used by running several texts at once.

    Raises:
        ConfigurationError: the installed ONNX Runtime cannot load the model.
    """

    def __init__(self, weights: E5Weights) -> None:
        self._weights = weights
        # The session reads the matrices where they are; they must outlive it.
        model, self._matrices = build_graph(weights)
        self._session = _open_session(model, self._matrices)
        # Every token is of type 0.
        types = weights.tensor("emb.type").reshape(-1, weights.hidden)
        positions = weights.tensor("emb.pos").reshape(weights.max_tokens, weights.hidden)
        self._positions = positions + types[0]

    @property
    def max_content(self) -> int:
        """Most tokens of a text, besides the two that mark its beginning and end."""
        return self._weights.max_tokens - _SPECIAL_TOKENS

    def encode(self, content: list[int]) -> Vector:
        """Embed one text given as at most ``max_content`` ids, (hidden,) float32 of length 1.

        Raises:
            EmbedderUnavailableError: ONNX Runtime failed, for want of memory for example.
        """
        ids = [self._weights.begin_id, *content, self._weights.end_id]
        embeddings = self._weights.word_embeddings(ids) + self._positions[: len(ids)]
        try:
            (unit,) = self._session.run(None, {"embeddings": embeddings[np.newaxis]})
        except runtime_errors() as exc:
            raise EmbedderUnavailableError(f"bundled embedder: ONNX Runtime: {exc}") from exc
        vector: Vector = unit[0]
        return vector


def _open_session(
    model: "onnx.ModelProto", matrices: dict[str, NDArray[np.float32]]
) -> "onnxruntime.InferenceSession":
    options = session_options(1)
    import onnxruntime

    values = [onnxruntime.OrtValue.ortvalue_from_numpy(matrix) for matrix in matrices.values()]
    try:
        options.add_external_initializers(list(matrices), values)
        return onnxruntime.InferenceSession(
            model.SerializeToString(),
            options,
            providers=["CPUExecutionProvider"],
            disabled_optimizers=list(SLOWER),
        )
    except runtime_errors() as exc:
        raise ConfigurationError(
            f"onnxruntime {onnxruntime.__version__} cannot load the bundled model: {exc}"
        ) from exc


def build_graph(
    weights: E5Weights,
) -> tuple["onnx.ModelProto", dict[str, NDArray[np.float32]]]:
    """Build the encoder: summed embeddings (1, tokens, hidden) in, unit vector (1, hidden) out.

    Returns:
        The model, and apart from it the matrices that it names as external data, so that they
        are handed over without being copied through a message.
    """
    graph = _GraphBuilder(weights)
    hidden = graph.layer_norm("embeddings", "emb.ln")
    for layer in range(weights.layers):
        hidden = _add_layer(graph, f"l{layer}", hidden)
    mean = graph.add("ReduceMean", [hidden, graph.constant("tokens_axis", [1])], keepdims=0)
    graph.add("LpNormalization", [mean], output="unit", axis=-1, p=2)
    return graph.model(), graph.matrices


def _add_layer(graph: "_GraphBuilder", name: str, hidden: str) -> str:
    """Add one encoder layer, normalised after each residual sum (Vaswani et al., 2017)."""
    heads = graph.weights.heads
    inputs = [graph.linear(hidden, f"{name}.{part}") for part in ("q", "k", "v")]
    context = graph.add("Attention", inputs, q_num_heads=heads, kv_num_heads=heads)
    attended = graph.linear(context, f"{name}.ao")
    middle = graph.layer_norm(graph.add("Add", [attended, hidden]), f"{name}.aln")
    widened = graph.add("Gelu", [graph.linear(middle, f"{name}.fi")])
    output = graph.linear(widened, f"{name}.fo")
    return graph.layer_norm(graph.add("Add", [output, middle]), f"{name}.oln")


class _GraphBuilder:
    """Collects nodes and weights; every method returns the name of what it computes."""

    def __init__(self, weights: E5Weights) -> None:
        self.weights = weights
        self.matrices: dict[str, NDArray[np.float32]] = {}
        self._initializers: list[Any] = []
        self._nodes: list[Any] = []

    def add(self, operator: str, inputs: list[str], output: str = "", **attributes: Any) -> str:
        from onnx import helper

        name = output or f"{operator}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def linear(self, source: str, name: str) -> str:
        """Multiply by a matrix and add a bias."""
        bias = self.weights.tensor(f"{name}.b")
        matrix = self.weights.tensor(f"{name}.w").reshape(len(bias), -1)
        product = self.add("MatMul", [source, self._matrix(f"{name}.w", matrix.T)])
        return self.add("Add", [product, self._vector(f"{name}.b")])

    def layer_norm(self, source: str, name: str) -> str:
        scale, bias = self._vector(f"{name}.w"), self._vector(f"{name}.b")
        epsilon = self.weights.epsilon
        return self.add("LayerNormalization", [source, scale, bias], axis=-1, epsilon=epsilon)

    def constant(self, name: str, values: list[int]) -> str:
        from onnx import numpy_helper

        self._initializers.append(numpy_helper.from_array(np.array(values, np.int64), name))
        return name

    def model(self) -> "onnx.ModelProto":
        from onnx import TensorProto, helper

        hidden = self.weights.hidden
        source = helper.make_tensor_value_info(
            "embeddings", TensorProto.FLOAT, [1, "tokens", hidden]
        )
        target = helper.make_tensor_value_info("unit", TensorProto.FLOAT, [1, hidden])
        graph = helper.make_graph(self._nodes, "e5", [source], [target], self._initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=helper.find_min_ir_version_for(opsets)
        )

    def _vector(self, name: str) -> str:
        from onnx import numpy_helper

        self._initializers.append(numpy_helper.from_array(self.weights.tensor(name), name))
        return name

    def _matrix(self, name: str, values: NDArray[np.float32]) -> str:
        """Announce a matrix as external data; the session is given the values by name."""
        from onnx import TensorProto

        self.matrices[name] = np.ascontiguousarray(values)
        announced = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=values.shape)
        announced.data_location = TensorProto.EXTERNAL
        for key, value in (("location", "memory"), ("offset", "0"), ("length", values.nbytes)):
            announced.external_data.add(key=key, value=str(value))
        self._initializers.append(announced)
        return name
