"""Robots: demonstrations, the conditional VAE as a policy (ACT), and environments to try it in."""
