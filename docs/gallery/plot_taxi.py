"""
Odd days of New York's taxis
============================

A model of a series scores each step by the steps before it. Days that nobody could expect have low scores.
"""

# %%
# The series has the number of taxi passengers in New York, from July 2014 to January 2015. It comes with vaekit. We take the sum of
# each hour, so that a window of 168 steps is a week. The model learns from the whole series and knows no calendar.

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.dates import DateFormatter, DayLocator

import vaekit
from vaekit import bundled

file = bundled.write("taxi", Path(tempfile.mkdtemp()) / "taxi.csv")
hours = pd.read_csv(file, parse_dates=["time"]).resample("h", on="time").sum().reset_index()
vae = vaekit.SeriesVAE(window=168, latent_dim=8, epochs=100, sampler="prior", random_state=0).fit(hours)

# %%
# The score of an hour is its log-probability in nats, given the week before it. Take the mean of each day.

score = pd.Series(vae.score_samples(hours, by="last"), hours["time"]).resample("D").mean()
known = {
    "2014-11-02": "marathon, clocks change",
    "2014-11-27": "Thanksgiving",
    "2014-12-25": "Christmas",
    "2015-01-01": "New Year",
    "2015-01-27": "blizzard",
}
for day, value in score.sort_values().head(8).items():
    print(f"{day:%Y-%m-%d} {value:7.2f}  {known.get(f'{day:%Y-%m-%d}', '')}")

# %%
# All five days that are known to be odd are among the seven with the lowest scores. The other two are 1 July, the first day of the
# series, which has no week before it, and Christmas Eve.

figure, (top, bottom) = plt.subplots(2, 1, figsize=(6.4, 6), height_ratios=(1.2, 1), layout="constrained")
top.plot(score.index, score, color="0.6", linewidth=1)
for day, name in known.items():
    day = pd.Timestamp(day)
    top.plot(day, score[day], "o", color="C1")
    shift = (-7, 0 if name == "Thanksgiving" else -10)
    top.annotate(name, (day, score[day]), shift, textcoords="offset points", ha="right")
top.set(title="score of each day", ylabel="nats per hour", ylim=(-20.5, None))
top.xaxis.set_major_formatter(DateFormatter("%b"))

week = hours["time"].between("2015-01-19", "2015-01-31 23:00")
rebuilt = vae.reconstruct(hours)[:, 0]
bottom.plot(hours["time"][week], rebuilt[week] / 1000, "--", color="C0", label="reconstruction")
bottom.plot(hours["time"][week], hours["passengers"][week] / 1000, color="black", linewidth=1.2, label="passengers")
bottom.axvspan(pd.Timestamp("2015-01-27"), pd.Timestamp("2015-01-28"), color="C1", alpha=0.25, linewidth=0)
bottom.set(title="the blizzard", ylabel="thousand passengers an hour", ylim=(0, 70))
bottom.xaxis.set_major_locator(DayLocator(interval=2))
bottom.xaxis.set_major_formatter(DateFormatter("%d %b"))
bottom.legend(loc="upper left", ncols=2)
plt.show()
