"""`vaekit serve`, of a model whose calls may take longer."""

from __future__ import annotations

import sys

from common import job
from serving_common import slow_down

from vaekit.cli import main

given = job()
slow_down(given["ms"])
sys.argv[1:] = ["serve", given["folder"], "--port", str(given["port"])]
main()
