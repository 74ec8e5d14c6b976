"""Drawings and words that a person looks at."""
