"""A step that is recorded once and then replayed, without the Python, the autograd and the optimiser's bookkeeping around it.

On a GPU the replay is a CUDA graph; elsewhere it is a function of the step's operations on tensors, one line each. Either is right
only where a step does the same operations on the same memory at every call, which a `Recorder` finds out.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable
from inspect import isroutine
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import TensorWeakRef

DYNAMIC = {torch.Tag.data_dependent_output, torch.Tag.dynamic_output_shape}
INDEX = torch.ops.aten.index.Tensor  # has such a tag because of masks, and is fixed where the index is numbers
# PyTorch reads the arguments of these functions in half the time that it takes for the operators that they are.
QUICK = {
    operator: getattr(torch if hasattr(torch, name) else Tensor, name)
    for name, form in {
        "add": "Tensor", "sub": "Tensor", "mul": "Tensor", "div": "Tensor", "neg": "default", "exp": "default", "log": "default",
        "mm": "default", "addmm": "default", "bmm": "default", "relu": "default", "sum": "dim_IntList", "mean": "default",
        "t": "default", "transpose": "int", "view": "default", "expand": "default", "unsqueeze": "default", "detach": "default",
    }.items()
    for operator in [getattr(getattr(torch.ops.aten, name), form)]
}  # fmt: skip
HOOKS = ("_forward_hooks", "_forward_pre_hooks")
PURE = {"vaekit", "torch", "zuko"}  # packages whose modules count nothing in Python from call to call


class Recorder(TorchDispatchMode):
    """A context that runs each operation on tensors and writes it down as a line of Python.

    Attributes:
        lines: such as `t3 = c2(t1, c0)`: `t` is what the step makes; `c` is an operation, or what is there before the step.
        constants: what each `c` stands for.
        problem: why the lines cannot stand for another step; None where they can.
    """

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self.constants: dict[str, Any] = {}
        self.problem: str | None = None
        self._last: dict[str, int] = {}  # the line that uses a `t` last
        self._names: dict[int, str] = {}  # of constants, by their id
        self._made: dict[int, tuple[TensorWeakRef, str]] = {}  # what the step made, by its id

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Do not ask for torch's compiler to be held off: it would be imported for that, which takes a second."""
        return False

    def __torch_dispatch__(self, operator: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if self.problem or operator.namespace == "profiler":
            return operator(*args, **kwargs)
        self._check(operator, args, kwargs)
        given = [*map(self._expression, args), *(f"{name}={self._expression(v)}" for name, v in kwargs.items())]
        out = operator(*args, **kwargs)
        before = {id(t) for t in tree_leaves((args, kwargs))}  # an operation in place returns what it was given
        parts = out if isinstance(out, list | tuple) else [out]
        named = ["_" if id(p) in before or not isinstance(p, Tensor) else self._make(p) for p in parts]
        left = ", ".join(named) + "," if isinstance(out, list | tuple) and named else named[0] if named else "_"
        self.lines.append(f"{left} = {self._constant(operator)}({', '.join(given)})")
        return out

    def replay(self) -> Callable[[], None]:
        """A function of the lines. It frees a tensor behind the line that uses it last, as the step itself does."""
        over: dict[int, list[str]] = {}
        for name, line in self._last.items():
            over.setdefault(line, []).append(name)
        body = [f"{line}; del {', '.join(over[i])}" if i in over else line for i, line in enumerate(self.lines)]
        scope = {
            name: QUICK.get(value, value) if isinstance(value, OpOverload) else value
            for name, value in self.constants.items()
        }
        exec("\n    ".join(["def replay():", *body]), scope)  # the lines hold names and numbers of our own making
        return torch.inference_mode()(scope["replay"])

    def differs(self, before: Recorder) -> str | None:
        """The difference of this recording of a step from the one before it; None if it does not."""
        if len(before.lines) != len(self.lines):
            return f"one step has {len(before.lines)} operations, and the next one {len(self.lines)}"
        for old, new in zip(before.lines, self.lines, strict=True):
            if old != new:
                return f"one step has {before.spelled(old)}, and the next one {self.spelled(new)}"
        for name, value in self.constants.items():
            if not same(value, before.constants[name]):
                where = next(line for line in self.lines if name in re.findall(r"\w+", line))
                return f"{self.spelled(where)} is given another value at each step"
        return None

    def spelled(self, line: str) -> str:
        """A line with its operation's name."""
        left, _, right = line.partition(" = ")
        operator, _, arguments = right.partition("(")
        return f"`{left} = {self.constants[operator]}({arguments}`"

    def _check(self, operator: Any, args: Any, kwargs: Any) -> None:
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
        if operator is INDEX:
            dynamic = any(t.dtype in (torch.bool, torch.uint8) for t in tensors[1:])
        else:
            dynamic = not DYNAMIC.isdisjoint(operator.tags)
        places = {t.device.type for t in tensors if t.ndim} | {
            torch.device(kwargs["device"]).type for _ in range(1) if kwargs.get("device")
        }
        if dynamic:
            self.problem = f"{operator} depends on the data"
        elif len(places) > 1:
            self.problem = f"{operator} copies between {' and '.join(sorted(places))}"

    def _expression(self, value: Any) -> str:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, list | tuple):
            return f"[{', '.join(map(self._expression, value))}]"
        if isinstance(value, float):
            return f"float('{value!r}')"  # which reads nan and inf as well
        return repr(value) if value is None or isinstance(value, bool | int) else self._constant(value)

    def _tensor(self, tensor: Tensor) -> str:
        reference, name = self._made.get(id(tensor), (None, ""))
        if reference is not None and reference() is tensor:
            self._last[name] = len(self.lines)
            return name
        return self._constant(tensor)

    def _make(self, tensor: Tensor) -> str:
        """Name what an operation made, without holding it: autograd copies a gradient that someone else holds."""
        name = f"t{len(self._last)}"
        self._last[name] = len(self.lines)
        self._made[id(tensor)] = TensorWeakRef(tensor), name
        return name

    def _constant(self, value: Any) -> str:
        key = getattr(value, "_cdata", id(value))  # of a generator, which each use wraps anew; and of a tensor
        if key not in self._names:
            self._names[key] = name = f"c{len(self.constants)}"
            self.constants[name] = value  # held, so that no other object gets its id
        return self._names[key]


def same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor) and a is not b:
        return a.shape == b.shape and a.dtype == b.dtype and torch.equal(a, b)
    return a is b or getattr(a, "_cdata", a) == getattr(b, "_cdata", b)


class Capture:
    """`step`, which is run as it is a few times and replayed from then on; or is always run as it is, where it has to be.

    Args:
        step: works on tensors that stay where they are, and draws from `generator`. It may have several forms.
        problem: why it may not be replayed, if that is known.

    Attributes:
        problem: why it is not replayed, the end of a sentence; None where it is.
    """

    def __init__(self, step: Callable[[], None], generator: torch.Generator, problem: str | None = None):
        self.step, self.generator, self.problem = step, generator, problem
        self._started = False
        self._recorded: dict[Hashable, Recorder] = {}
        self._replays: dict[Hashable, Callable[[], None]] = {}
        self._pool: Any = None  # the memory of CUDA graphs, which one at a time uses

    def __call__(self, form: Hashable = None) -> None:
        """One step, of this form, such as the length of its texts."""
        if form in self._replays:
            self._replays[form]()
        elif self.problem or not self._started:  # the first step of all makes what the optimiser keeps
            self.step()
            self._started = True
        else:
            self._record(form)

    def _record(self, form: Hashable) -> None:
        """Run a step and write it down. If it is as the one of its form before, it is replayed from then on."""
        with Recorder() as recorder:
            self.step()
        before = self._recorded.pop(form, None)
        self.problem = recorder.problem or (recorder.differs(before) if before else None)
        if self.problem:
            self._recorded.clear()
        elif before is None:
            self._recorded[form] = recorder
        elif self.generator.device.type == "cuda":
            self._capture(form)
        else:
            self._replays[form] = recorder.replay()

    def _capture(self, form: Hashable) -> None:
        """Make the step a CUDA graph. It draws what the step would draw: a replay reads the generator's seed anew."""
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self.generator)
        try:
            with torch.cuda.graph(graph, pool=self._pool):
                self.step()
        except RuntimeError as e:
            self.problem = f"CUDA refused: {str(e).splitlines()[0]}"
        else:
            self._pool = graph.pool()
            self._replays[form] = graph.replay


def impure(*parts: Any) -> str | None:
    """Return the name of the first module or function that does not come from one of the packages `PURE`, or has a forward hook.
    None: all of them may be captured."""
    for part in parts:
        for each in part.modules() if isinstance(part, nn.Module) else [part]:
            home = each if isroutine(each) else type(each)
            if home.__module__.partition(".")[0] not in PURE or any(vars(each).get(hooks) for hooks in HOOKS):
                return home.__qualname__
    return None
