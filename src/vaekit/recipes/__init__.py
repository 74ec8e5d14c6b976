"""From a source to a run: what the verbs of the command line do, callable from Python too."""
