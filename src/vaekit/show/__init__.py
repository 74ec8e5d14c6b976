"""Drawings and words for people."""
