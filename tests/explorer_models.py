"""Small models of the explorer's page that need no training: what the page gets of a run, made by hand with known answers."""

import base64
import gzip
import json
import re
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from safetensors.numpy import save

PAGE = files("vaekit") / "deploy" / "explorer"
SCRIPT = "<script>document.title = 'taken over'</script>"


class Plan:
    """A list of operations for the page's plain engine, and the weights that they use."""

    def __init__(self) -> None:
        self.weights: dict[str, np.ndarray] = {}
        self.graphs: dict[str, Any] = {}
        self.plan: dict[str, Any] = {}

    def keep(self, value: Any, dtype: type = np.float32) -> str:
        name = f"weights.{len(self.weights)}"
        self.weights[name] = np.asarray(value, dtype)
        return name

    def graph(self, name: str, inputs: dict[str, Any], outputs: dict[str, Any], nodes: list[Any]) -> None:
        """inputs, outputs: name -> (dtype, shape of a row). nodes: (op, inputs, outputs, attrs)."""
        made = [{"op": op, "in": i.split(), "out": o.split(), "attrs": (more or [{}])[0]} for op, i, o, *more in nodes]
        self.plan[name] = {"nodes": made, "inputs": list(inputs), "outputs": list(outputs)}
        about = [{n: {"dtype": d, "shape": ["rows", *s]} for n, (d, s) in x.items()} for x in (inputs, outputs)]
        if "temperature" in about[0]:
            about[0]["temperature"]["shape"] = []
        self.graphs[name] = {"inputs": about[0], "outputs": about[1]}


def html(model: dict[str, Any], tensors: dict[str, np.ndarray]) -> str:
    """The page as one file, as the exporter fills it."""
    wasm = ""
    if model["engine"] == "onnx":
        packed = base64.b64encode((PAGE / "ort-wasm-simd-threaded.wasm.gz").read_bytes()).decode()
        wasm = f'<script type="application/octet-stream" id="wasm">{packed}</script>'
    packed = base64.b64encode(gzip.compress(save({n: np.array(t, order="C") for n, t in tensors.items()}))).decode()
    text = json.dumps(model).replace("<", "\\u003c")
    data = f'<script type="application/json" id="model">{text}</script>'
    data += f'<script type="application/octet-stream" id="tensors">{packed}</script>'
    ort = (PAGE / "ort.js").read_text(encoding="utf-8") if wasm else ""
    return filled(title=escape(model["name"]), data=data + wasm, ort=ort)


def filled(**parts: str) -> str:
    """The page's shell with its parts."""
    parts |= {name: (PAGE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], (PAGE / "page.html").read_text(encoding="utf-8"))


def as_onnx(model: dict[str, Any], tensors: dict[str, np.ndarray]) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The same model, for a page that has onnxruntime."""
    from onnx import TensorProto, helper, numpy_helper

    types = {"f32": TensorProto.FLOAT, "i32": TensorProto.INT32, "bool": TensorProto.BOOL}
    model, found = model | {"engine": "onnx"}, {n: t for n, t in tensors.items() if not n.startswith("weights.")}
    for name, plan in model.pop("plan").items():
        ends = [
            [
                helper.make_tensor_value_info(n, types[i["dtype"]], i["shape"])
                for n, i in model["graphs"][name][end].items()
            ]
            for end in ("inputs", "outputs")
        ]
        used = sorted({n for node in plan["nodes"] for n in node["in"] if n.startswith("weights.")})
        # Shapes and places are of 64 bits in ONNX.
        kept = [
            numpy_helper.from_array(t.astype(np.int64) if t.dtype == np.int32 else t, n)
            for n in used
            for t in [tensors[n]]
        ]
        nodes = [helper.make_node(n["op"], n["in"], n["out"], **n["attrs"]) for n in plan["nodes"]]
        graph = helper.make_graph(nodes, name, *ends, kept)
        made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
        file = np.frombuffer(made.SerializeToString(), np.uint8)
        if name == "decoder":  # in two pieces, as graphs that share weights are
            model["pieces"] = {name: ["piece.0", "piece.1"]}
            found |= {"piece.0": file[:101], "piece.1": file[101:]}
        else:
            found[f"onnx.{name}"] = file
    return model, found


def p_values(score: np.ndarray, calibration: np.ndarray) -> np.ndarray:
    return (1 + (calibration <= np.asarray(score)[..., None]).sum(-1)) / (len(calibration) + 1)


def shading(basis: np.ndarray, origin: np.ndarray, points: np.ndarray, p_of: Any, size: int = 40) -> tuple[Any, Any]:
    """p-values of a grid of places of a plane, as bytes, and the grid's extent."""
    low, high = points.min(0) - 0.6, points.max(0) + 0.6
    extent = np.array([low[0], high[0], low[1], high[1]], np.float32)
    u, v = (a + (np.arange(size) + 0.5) / size * (b - a) for a, b in ((extent[0], extent[1]), (extent[2], extent[3])))
    places = np.stack(np.meshgrid(u, v), -1).reshape(-1, 2)
    return np.round(255 * p_of(origin + places @ basis)).astype(np.uint8).reshape(size, size), extent


class Digits:
    """Pictures of 8 by 8: a linear decoder (the principal axes of real digits), written as a network with a hidden layer."""

    def __init__(self, units: int = 6, hidden: int = 0, rows: int = 400):
        from sklearn.datasets import load_digits

        data = load_digits()
        self.rows = (data.images.astype(np.float32) / 16)[:rows]
        self.labels = data.target[:rows].astype(np.int32)
        flat = self.rows.reshape(rows, -1)
        self.mean = flat.mean(0)
        _, values, axes = np.linalg.svd(flat - self.mean, full_matrices=False)
        scale = (values[:units] / np.sqrt(rows))[:, None]
        self.into = (axes[:units] * scale).astype(np.float32)  # (units, 64)
        self.back = (axes[:units] / scale).astype(np.float32)
        rng = np.random.default_rng(0)
        self.offsets = np.concatenate([0.1 * rng.normal(size=(10, 64)), np.zeros((1, 64))]).astype(np.float32)
        self.units, self.hidden = units, hidden
        self.codes = self.encode(self.rows)
        self.calibration = np.sort(self.score(self.rows[200:])).astype(np.float32)
        places = [self.place(z[None], y)[0] for z, y in zip(self.codes[200:], self.labels[200:], strict=True)]
        self.places = np.sort(places).astype(np.float32)

    def encode(self, x: np.ndarray) -> np.ndarray:
        return ((x.reshape(len(x), -1) - self.mean) @ self.back.T).astype(np.float32)

    def decode(self, z: np.ndarray, label: int = -1) -> np.ndarray:
        return np.clip(z @ self.into + self.mean + self.offsets[label], 0, 1).reshape(-1, 8, 8)

    def score(self, x: np.ndarray) -> np.ndarray:
        """How little is lost, less how far from the middle the code is (the fourth power, so that far places stand out)."""
        z = self.encode(x)
        lost = x.reshape(len(x), -1) - z @ self.into - self.mean
        return -(lost**2).mean(1) - 0.01 * (z**4).mean(1)

    def place(self, z: np.ndarray, label: int = -1) -> np.ndarray:
        """How little a code changes when what it decodes to is encoded again."""
        again = self.encode(self.decode(z, label))
        return -(((again - z) ** 2) * self.codes.astype(float).var(0)).sum(1)

    def page(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        plan, d = Plan(), self.units
        eye = np.eye(d, dtype=np.float32)
        both = np.concatenate([eye, -eye], 1)
        first, second = both, np.concatenate([self.into, -self.into])
        if self.hidden:  # wider layers, whose further units do nothing
            first = np.zeros((d, self.hidden), np.float32)
            first[:, : 2 * d] = both
            second = np.zeros((self.hidden, 64), np.float32)
            second[: 2 * d] = np.concatenate([self.into, -self.into])
        middle = [("Identity", "h", "k")]
        if self.hidden:
            middle = [("MatMul", f"h {plan.keep(np.eye(self.hidden))}", "g"), ("Relu", "g", "k")]
        shape, zero = plan.keep([-1, 1, 8, 8], np.int32), plan.keep(0.0)
        decoded = [
            ("Gemm", f"z {plan.keep(first.T)}", "a", {"transB": 1}), ("Relu", "a", "h"), *middle,
            ("MatMul", f"k {plan.keep(second)}", "b"), ("Add", f"b {plan.keep(self.mean)}", "c"),
            ("Gather", f"{plan.keep(self.offsets)} y.label", "o", {"axis": 0}), ("Add", "c o", "e"),
            ("Clip", f"e {zero} {plan.keep(1.0)}", "f"), ("Reshape", f"f {shape}", "x"),
        ]  # fmt: skip
        encoded = [
            ("Flatten", "x", "a", {"axis": 1}), ("Sub", f"a {plan.keep(self.mean)}", "b"),
            ("MatMul", f"b {plan.keep(self.back.T)}", "z"),
        ]  # fmt: skip
        axes = plan.keep([1], np.int32)
        scored = [
            *encoded, ("MatMul", f"z {plan.keep(self.into)}", "c"), ("Sub", "b c", "e"), ("Mul", "e e", "f"),
            ("ReduceMean", f"f {axes}", "g", {"keepdims": 0}), ("Pow", f"z {plan.keep(4.0)}", "h"),
            ("ReduceMean", f"h {axes}", "i", {"keepdims": 0}), ("Mul", f"i {plan.keep(0.01)}", "j"),
            ("Add", "g j", "k"), ("Neg", "k", "score"),
        ]  # fmt: skip
        x, z, y = ("f32", [1, 8, 8]), ("f32", [d]), ("i32", [])
        plan.graph("decoder", {"z": z, "y.label": y}, {"x": x}, decoded)
        plan.graph("encoder", {"x": x}, {"z": z}, encoded)
        plan.graph("score", {"x": x}, {"score": ("f32", [])}, scored)
        plan.graph("prior", {"noise": z, "temperature": ("f32", [])}, {"z": z}, [("Mul", "noise temperature", "z")])

        turned = np.linalg.svd(self.codes - self.codes.mean(0), full_matrices=False)[2][:2].astype(np.float32)
        tensors = {
            "codes": self.codes,
            "calibration": self.calibration,
            "calibration.place": self.places,
            **plan.weights,
            "colour.label": self.labels,
        }
        bases = [(eye[:2], np.zeros(d, np.float32)), (turned, self.codes.mean(0))]
        for i, (basis, origin) in enumerate(bases):
            points = ((self.codes - origin) @ basis.T).astype(np.float32)
            trust, extent = shading(basis, origin, points, lambda z: p_values(self.place(z, 3), self.places))
            layout = {"": points, ".basis": basis, ".origin": origin, ".trust": trust, ".extent": extent}
            tensors |= {f"layout.{i}{name}": value for name, value in layout.items()}
        angle = np.arctan2(self.codes[:, 0], self.codes[:, 1])  # a bent map, as UMAP's is
        bent = np.stack([angle, self.codes[:, 2]], 1).astype(np.float32)
        low, high = bent.min(0), bent.max(0)
        ends = np.stack([low - 0.04 * (high - low), high + 0.04 * (high - low)], 1).ravel()
        tensors["layout.2.extent"] = ends.astype(np.float32)
        tensors |= {"layout.2": bent, "colour.ink": self.rows.mean((1, 2)).astype(np.float32)}
        tensors["thumbs"] = np.round(self.rows * 255).astype(np.uint8)[..., None]
        tensors["shown.x"] = self.rows[:300, None]
        model = {
            "format": 1, "vaekit": "0.1.0", "name": f"digits {SCRIPT}", "noun": "pictures", "row": "picture",
            "latent_dim": d, "seed": 0, "graphs": plan.graphs, "plan": plan.plan, "engine": "plain",
            "form": {
                "type": "array", "view": "picture", "shape": [8, 8], "event": [1, 8, 8], "axes": "hw", "mean": [0.0],
                "scale": [16.0], "low": 0, "high": 16, "step": 1, "dtype": "uint8", "columns": None, "binarize": None,
                "black": 0, "white": 16,
            },
            "conditions": [{"name": "label", "kind": "label", "classes": [SCRIPT, *range(1, 10)], "start": 3}],
            "seen": None, "mean_samples": True, "score": {"name": "path", "rows": len(self.calibration)},
            "notes": [f"Decoding is by hand. {SCRIPT}"],
            "map": {
                "rows": len(self.codes), "of": 1797, "texts": None,
                "names": [f"scan {i}" for i in range(len(self.codes))],
                "layouts": [
                    {"name": "units", "axes": ["unit 1", "unit 2"], "linear": True},
                    {"name": "PCA", "axes": ["widest", "second"], "linear": True},
                    {"name": "UMAP", "axes": None, "linear": False},
                ],
                "colours": [
                    {"name": "label", "kind": "label", "classes": [SCRIPT, *range(1, 10)]},
                    {"name": "ink", "kind": "number", "low": 0.1, "high": 0.5},
                ],
            },
        }  # fmt: skip
        return model, tensors


class Table:
    """A table of two columns of classes and two of numbers, of which one has gaps."""

    classes = ([SCRIPT, "b", "c"], ["a", "b, c"])
    knots, scores = [1.0, 4.0, 5.0, 9.0], [-2.0, 0.0, 1.0, 2.0]
    edges = (-3.0, -1.5, -0.5, 0.5, 1.5, 3.0)

    def __init__(self, units: int = 3, rows: int = 120):
        rng = np.random.default_rng(1)
        self.codes = rng.normal(size=(rows, units)).astype(np.float32)
        self.turn = rng.normal(size=(units, 24)).astype(np.float32)  # 4 columns of up to 6 chances
        self.turn[:, 18:] *= 3
        self.shift = np.zeros((4, 6), np.float32)
        for column, many in enumerate((3, 5, 5, 2)):
            self.shift[column, many:] = -1e9
        self.lines = rng.normal(size=(units, 2)).astype(np.float32)
        self.rows = self.decode(self.codes)["x"]
        self.calibration = np.sort(-(self.rows**2).mean(1)).astype(np.float32)

    def decode(self, z: np.ndarray) -> dict[str, np.ndarray]:
        logits = (z @ self.turn).reshape(-1, 4, 6) + self.shift
        chances = np.exp(logits - logits.max(2, keepdims=True))
        chances /= chances.sum(2, keepdims=True)
        numbers, best = z @ self.lines, logits.argmax(2) + 1
        flag = np.where(z[:, :1] > 1, 2.0, 1.0)
        x = np.concatenate([best[:, :1], numbers, best[:, 3:], flag], 1)
        return {"x": x.astype(np.float32), "bins": chances.astype(np.float32)}

    def words(self, x: np.ndarray) -> dict[str, str]:
        number = [f"{round(float(v), 1):g}" for v in np.interp(x[1:3], self.scores, self.knots)]
        kinds = [self.classes[0][round(x[0]) - 1], self.classes[1][round(x[3]) - 1]]
        width = "missing" if x[4] > 1.5 else number[1]
        return {"kind": kinds[0], "length": number[0], "width": width, "note": kinds[1]}

    def page(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        plan, d = Plan(), self.codes.shape[1]
        axis = plan.keep([1], np.int32)

        def column(i: int) -> str:
            return f"{plan.keep([i], np.int32)} {plan.keep([i + 1], np.int32)}"

        decoded = [
            ("MatMul", f"z {plan.keep(self.turn)}", "a"), ("Reshape", f"a {plan.keep([-1, 4, 6], np.int32)}", "b"),
            ("Add", f"b {plan.keep(self.shift)}", "c"), ("Softmax", "c", "bins", {"axis": -1}),
            ("MatMul", f"z {plan.keep(self.lines)}", "numbers"), ("ArgMax", "c", "e", {"axis": 2, "keepdims": 0}),
            ("Cast", "e", "f", {"to": 1}), ("Add", f"f {plan.keep(1.0)}", "best"),
            ("Slice", f"best {column(0)} {axis}", "first"), ("Slice", f"best {column(3)} {axis}", "last"),
            ("Slice", f"z {column(0)} {axis}", "h"), ("Greater", f"h {plan.keep(1.0)}", "i"),
            ("Where", f"i {plan.keep(2.0)} {plan.keep(1.0)}", "flag"),
            ("Concat", "first numbers last flag", "x", {"axis": 1}),
        ]  # fmt: skip
        x, z, mask = ("f32", [5]), ("f32", [d]), ("bool", [5])
        plan.graph("decoder", {"z": z}, {"x": x, "bins": ("f32", [4, 6])}, decoded)
        back = plan.keep(np.eye(5, d))
        seen = [("Cast", "mask", "m", {"to": 1}), ("Mul", "x m", "a")]
        plan.graph("encoder", {"x": x, "mask": mask}, {"z": z}, [*seen, ("MatMul", f"a {back}", "z")])
        given, square = {"x": x, "mask": mask}, [*seen, ("Mul", "a a", "b")]
        scored = [*square, ("ReduceMean", f"b {axis}", "c", {"keepdims": 0}), ("Neg", "c", "score")]
        plan.graph("score", given, {"score": ("f32", [])}, scored)
        plan.graph("surprise", given, {"surprise": x}, [*square, ("Identity", "b", "surprise")])
        plan.graph("prior", {"noise": z}, {"z": z}, [("Identity", "noise", "z")])
        number = {"kind": "number", "knots": self.knots, "scores": self.scores, "low": 1.0, "high": 9.0, "step": 0.1}
        number |= {"spikes": [], "origin": None, "type": "double"}
        model = {
            "format": 1, "vaekit": "0.1.0", "name": "flowers", "noun": "rows", "row": "row", "latent_dim": d, "seed": 0,
            "graphs": plan.graphs, "plan": plan.plan, "engine": "plain", "conditions": [], "seen": None,
            "mean_samples": False, "score": {"name": "path", "rows": len(self.calibration)}, "notes": [],
            "form": {
                "type": "columns", "gaps": [2], "bins": list(self.edges),
                "columns": [
                    {"name": "kind", "kind": "classes", "classes": self.classes[0]}, {"name": "length", **number},
                    {"name": "width", **number}, {"name": "note", "kind": "classes", "classes": self.classes[1]},
                ],
            },
            "map": {
                "rows": len(self.codes), "of": len(self.codes), "texts": None, "names": None,
                "layouts": [{"name": "units", "axes": ["unit 1", "unit 2"], "linear": True}],
                "colours": [{"name": "kind", "kind": "label", "classes": self.classes[0]}],
            },
        }  # fmt: skip
        tensors = {
            "codes": self.codes, "calibration": self.calibration, **plan.weights, "shown.x": self.rows,
            "shown.mask": np.ones(self.rows.shape, np.uint8), "usual": (self.rows**2).mean(0),
            "layout.0": self.codes[:, :2], "layout.0.basis": np.eye(2, d, dtype=np.float32),
            "layout.0.origin": np.zeros(d, np.float32), "colour.kind": self.rows[:, 0].astype(np.int32) - 1,
        }  # fmt: skip
        return model, tensors


class Lines:
    """Rows of any form that is numbers: z times a matrix."""

    def __init__(self, form: dict[str, Any], event: tuple[int, ...], matrix: np.ndarray, conditions: Any = ()):
        self.form, self.event, self.matrix = form, event, matrix.reshape(len(matrix), -1).astype(np.float32)
        self.codes = np.random.default_rng(2).normal(size=(60, len(matrix))).astype(np.float32)
        self.conditions = list(conditions)

    def decode(self, z: np.ndarray) -> np.ndarray:
        return (z @ self.matrix).reshape(-1, *self.event)

    def page(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        plan, d = Plan(), self.codes.shape[1]
        x, z = ("f32", list(self.event)), ("f32", [d])
        y = {f"y.{c['name']}": ("f32", [len(c["mean"])]) for c in self.conditions}
        shape, back = plan.keep([-1, *self.event], np.int32), plan.keep(np.linalg.pinv(self.matrix))
        decoded = [("MatMul", f"z {plan.keep(self.matrix)}", "a"), ("Reshape", f"a {shape}", "x")]
        plan.graph("decoder", {"z": z, **y}, {"x": x}, decoded)
        plan.graph("encoder", {"x": x, **y}, {"z": z}, [("Flatten", "x", "a"), ("MatMul", f"a {back}", "z")])
        plan.graph("prior", {"noise": z, "temperature": ("f32", [])}, {"z": z}, [("Mul", "noise temperature", "z")])
        return plain("lines", plan, self.form, self.codes, self.decode(self.codes), self.conditions)


class Texts:
    """Texts of tokens, each the likeliest of a matrix of scores."""

    def __init__(self, form: dict[str, Any]):
        self.form, self.vocabulary, self.longest = form, form["vocabulary"], form["longest"]
        rng = np.random.default_rng(3)
        self.codes = rng.normal(size=(60, 3)).astype(np.float32)
        self.matrix = rng.normal(size=(3, self.longest * self.vocabulary)).astype(np.float32)

    def decode(self, z: np.ndarray) -> np.ndarray:
        return (z @ self.matrix).reshape(-1, self.longest, self.vocabulary).argmax(2).astype(np.int32)

    def page(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        plan, x, z = Plan(), ("i32", [self.longest]), ("f32", [3])
        shape = plan.keep([-1, self.longest, self.vocabulary], np.int32)
        decoded = [("MatMul", f"z {plan.keep(self.matrix)}", "a"), ("Reshape", f"a {shape}", "b")]
        plan.graph("decoder", {"z": z}, {"x": x}, [*decoded, ("ArgMax", "b", "x", {"axis": 2, "keepdims": 0})])
        encoded = [("Cast", "x", "a", {"to": 1}), ("MatMul", f"a {plan.keep(np.eye(self.longest, 3) / 99)}", "z")]
        plan.graph("encoder", {"x": x}, {"z": z}, encoded)
        return plain("lines", plan, self.form, self.codes, self.decode(self.codes), [])


def plain(
    name: str, plan: Plan, form: Any, codes: np.ndarray, rows: np.ndarray, conditions: Any
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """A page's model and tensors with nothing that is not needed: one map, no colours, no score."""
    d = codes.shape[1]
    model = {
        "format": 1, "vaekit": "0.1.0", "name": name, "noun": "rows", "row": "row", "latent_dim": d, "seed": 0,
        "graphs": plan.graphs, "plan": plan.plan, "engine": "plain", "conditions": conditions, "seen": None,
        "mean_samples": True, "score": None, "notes": [], "form": form,
        "map": {
            "rows": len(codes), "of": len(codes), "texts": None, "names": None, "colours": [],
            "layouts": [{"name": "units", "axes": ["unit 1", "unit 2"], "linear": True}],
        },
    }  # fmt: skip
    tensors = {
        "codes": codes, **plan.weights, "shown.x": rows, "layout.0": codes[:, :2],
        "layout.0.basis": np.eye(2, d, dtype=np.float32), "layout.0.origin": np.zeros(d, np.float32),
    }  # fmt: skip
    return model, tensors
