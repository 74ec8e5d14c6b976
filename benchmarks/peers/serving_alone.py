"""The milliseconds that the model takes for one row, without any server."""

from __future__ import annotations

import time

import numpy as np
from common import job, report
from serving_common import model

given, took = job(), []
decoder = model(given)
for _ in ("to warm up", "to measure"):
    took.clear()
    end = time.perf_counter() + given["seconds"]
    while (begin := time.perf_counter()) < end:
        decoder.decode([given["z"]])
        took.append(time.perf_counter() - begin)
p50, p99 = np.percentile(took, [50, 99]) * 1e3
report(rate=len(took) / given["seconds"], p50=p50, p99=p99)
