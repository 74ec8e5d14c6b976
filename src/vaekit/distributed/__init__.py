"""A model at work on many processes and many machines, by our own workers, Ray or Spark. The same row has the same score, code,
prediction and best guess everywhere, to the last bit: see `vaekit.deploy.steady`.
"""
