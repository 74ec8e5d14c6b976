"""The run directory: how it is made, written, read back and evaluated."""
