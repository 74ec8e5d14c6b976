"""
A table, real and synthetic
===========================

A model of a table draws new rows. Their columns should be distributed like the real ones, and should depend on each other in the same way.
"""

# %%
# The table has 2,500 people of the census of the USA in 1994: numbers and categories, with gaps. It comes with vaekit.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

import vaekit
from vaekit import bundled

people = pd.read_csv(bundled.write("people", Path(tempfile.mkdtemp()) / "people.csv"))
train = people.sample(2000, random_state=0)
test = people.drop(train.index)
vae = vaekit.VAE(size="small", epochs=150, random_state=0).fit(train)
synthetic = vae.sample(2000, random_state=0)

# %%
# Does a column depend on another one? Correlate all pairs: numbers as they are, a category as one number per value.

