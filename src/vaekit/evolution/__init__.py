"""Search for many good solutions in a learned latent space, and use of what was found."""
