"""An exported model at work. Needs only NumPy and onnxruntime, no PyTorch (of texts also the package tokenizers).

model = vaekit.runtime.load("exported")  # a folder of `vaekit export RUN -o exported`
rows = model.sample(16)
codes = model.encode(rows)
"""

from vaekit.runtime.model import Runtime, load

__all__ = ["Runtime", "load"]
