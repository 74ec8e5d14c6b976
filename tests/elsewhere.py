"""A device that no machine has, to test on a CPU what a GPU would refuse."""

from contextlib import contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.cuda.is_available()
COPIES = {torch.ops.aten.copy_.default, torch.ops.aten._to_copy.default}


if not GPU:
    from torch.utils.backend_registration import _DummyBackendModule, _setup_privateuseone_for_python_backend

    class Backend(_DummyBackendModule):
        def get_amp_supported_dtype(self):
            return [torch.bfloat16]

    _setup_privateuseone_for_python_backend("elsewhere", Backend())
DEVICE = torch.device("cuda:0" if GPU else "elsewhere:0")


class Elsewhere(Tensor):
    """A tensor that says that it is on `DEVICE`. Its numbers are in `own`, on the CPU."""

    own: Tensor

    @staticmethod
    def __new__(cls, own: Tensor) -> "Elsewhere":
        with torch.inference_mode(False):  # where a view of a weight is as the weight is
            tensor = Tensor._make_wrapper_subclass(
                cls, own.shape, strides=own.stride(), storage_offset=own.storage_offset(), dtype=own.dtype, device=DEVICE,
                requires_grad=own.requires_grad,
            )  # fmt: skip
        tensor.own = own
        return tensor

    __torch_function__ = torch._C._disabled_torch_function_impl

    def tolist(self):
        return self.own.tolist()

    @classmethod
    def __torch_dispatch__(cls, operator, types, args=(), kwargs=None):
        return compute(operator, args, kwargs or {})


GENERATORS = {}  # of `DEVICE`, by the address of what each is in C++; they draw on the CPU
CPUGenerator = torch.Generator


class Generator(CPUGenerator):
    def __new__(cls, device="cpu"):
        if torch.device(device).type != DEVICE.type:
            return CPUGenerator(device)
        generator = super().__new__(cls)
        GENERATORS[generator._cdata] = generator
        return generator

    device = DEVICE


class Mode(TorchDispatchMode):
    """Within it, operations that ask for `DEVICE` get it."""

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        return compute(operator, args, kwargs or {})


def compute(operator, args, kwargs):
    """What a GPU would compute; RuntimeError where tensors or generators of two devices meet."""
    tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    met = there = any(isinstance(t, Elsewhere) for t in tensors)
    if there and operator not in COPIES and any(type(t) is Tensor and t.ndim for t in tensors):
        raise RuntimeError(f"{operator}: tensors of the CPU and of {DEVICE} meet")
    device = kwargs.get("device")
    there = there if device is None else device.type == DEVICE.type
    generator = kwargs.get("generator")
    if generator is not None and (generator._cdata in GENERATORS) != there:
        raise RuntimeError(f"{operator}: the generator is of another device than the numbers that it is to draw")
    own_args, own_kwargs = tree_map_only(Elsewhere, lambda t: t.own, (args, kwargs))
    if device is not None:
        own_kwargs["device"] = torch.device("cpu")
    out = operator(*own_args, **own_kwargs)
    if not there:
        return out
    out = tree_map_only(Tensor, Elsewhere, out)
    return return_and_correct_aliasing(operator, args, kwargs, out) if met else out


# Lists that become tensors (`torch.tensor`, an index) are made and copied below the level of `Mode`.
library = torch.library.Library("aten", "IMPL")


@torch.library.impl("aten::empty_strided", "PrivateUse1", lib=library)
def empty_strided(size, stride, *, dtype=None, layout=None, device=None, pin_memory=None):
    return Elsewhere(torch.empty_strided(size, stride, dtype=dtype))


@torch.library.impl("aten::_copy_from", "PrivateUse1", lib=library)
def copy_from(source, target, non_blocking=False):
    return target.own.copy_(source)


@contextmanager
def elsewhere():
    """The context that tensors of `DEVICE` live in."""
    torch.__future__.set_overwrite_module_params_on_conversion(
        not GPU
    )  # a parameter's `own` does not change with its data
    try:
        torch.Generator = CPUGenerator if GPU else Generator
        with nullcontext() if GPU else Mode():
            yield
    finally:
        torch.Generator = CPUGenerator
        torch.__future__.set_overwrite_module_params_on_conversion(False)


def moved(thing):
    """A tensor, a module, or a dict of such, on `DEVICE`."""
    if isinstance(thing, dict):
        return {name: moved(value) for name, value in thing.items()}
    if GPU:
        return thing.to(DEVICE)
    return thing._apply(Elsewhere) if isinstance(thing, nn.Module) else Elsewhere(thing)
