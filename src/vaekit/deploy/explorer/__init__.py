"""The explorer: one page to play with a trained model, served (`vaekit explore RUN`) or as one file (`vaekit export RUN --html`).

rows.py      which rows of the run's source are on the map, and what is known and shown of them
layouts.py   where their codes lie on a map, and which code a place on it stands for
trust.py     how normal what the model makes of a code is, beside rows that the run held out
scene.py     all of that together: what the page gets of a run
evolved.py   the same of an evolved archive, whose map is its grid of cells
server.py, html.py, plan.py   the page with a server behind it, and as one file whose graphs run in the browser

The page itself is written in JavaScript, in the folder `explorer` of the repository, and built into this folder.
"""
