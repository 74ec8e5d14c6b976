"""A service in a process of its own, what tests ask it with, and the models that it serves."""

import contextlib
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
import pandas as pd

import vaekit as vk
from conftest import TINY
from vaekit.deploy.export import export
from vaekit.files import locked
from vaekit.robots.environments import demonstrate
from vaekit.sources.base import Dataset
from vaekit.uses.calibration import Calibration

START = """
import sys
import vaekit.serve.server as server
server.PATIENCE = {patience}
from vaekit.cli import main
main()
"""


class Service:
    """A running `vaekit serve`. said: the lines that it printed."""

    def __init__(self, *arguments, patience=10.0, env=None):
        self.process = subprocess.Popen(
            [sys.executable, "-c", START.format(patience=patience), "serve", *map(str, arguments), "--port", "0"],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "NO_COLOR": "1", **(env or {})},
        )  # fmt: skip
        self.said, self.port = [], 0
        for line in self.process.stderr:
            self.said.append(line)
            if found := re.search(r"http://\S+:(\d+)", line):
                self.port = int(found[1])
                break
        self.reader = threading.Thread(target=lambda: self.said.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def connect(self, timeout=30):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)

    def ask(self, path, body=None, *, method=None, **headers):
        """(status, headers, body) of one request. A body that is no bytes goes as JSON."""
        if not isinstance(body, bytes | None):
            body = json.dumps(body).encode()
            headers = {"content-type": "application/json", **headers}
        with contextlib.closing(self.connect()) as connection:
            headers = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method or ("GET" if body is None else "POST"), path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()

    def json(self, path, body=None, **headers):
        """The answer to one request that has to succeed."""
        status, _, data = self.ask(path, body, **headers)
        assert status == 200, data
        return json.loads(data)

    def figure(self, name):
        """The sum of a figure over its labels, from /metrics."""
        lines = self.ask("/metrics")[2].decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if re.match(rf"{name}(\{{| )", line))

    def end(self, sig=signal.SIGTERM):
        """The exit code."""
        self.process.send_signal(sig)
        code = self.process.wait(30)
        self.reader.join(5)
        self.process.stderr.close()
        return code

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def exported_models(tmp_path_factory):
    """A folder of exported models: pictures with labels and p-values, a table with gaps, a policy. The workers of one run share it."""
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    place = root / "served"
    place.mkdir(exist_ok=True)
    with locked(place, 300):
        if not (place / "made").exists():
            make_models(place)
            (place / "made").touch()
    return place


def make_models(place):
    random = np.random.default_rng(0)
    labels = random.integers(0, 3, 60)
    X = (random.random((60, 6, 6)) * 60 + 60 * labels[:, None, None]).astype(np.uint8)
    pictures = vk.CVAE(**TINY).fit(X, labels)
    odd = Calibration([pictures.fitted_], "loglik", k=4)
    odd.calibrate((Dataset(X, "images", "", None, {"y": labels}, []), np.arange(60)), "here")
    export(pictures, place / "pictures", odd=odd)
    np.save(place / "x.npy", X)
    words = random.choice(["a", "b"], 90).astype(object)
    frame = pd.DataFrame({"size": random.gamma(2.0, size=90), "word": np.where(random.random(90) < 0.2, None, words)})
    frame.loc[random.random(90) < 0.2, "size"] = np.nan
    export(vk.VAE(**TINY).fit(frame), place / "table", k=4)
    shown = demonstrate("two-routes", 8)
    export(vk.Policy(latent_dim=3, size="small", chunk_size=8, epochs=1, z="mean").fit(shown), place / "robot")
