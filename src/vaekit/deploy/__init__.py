"""What leaves vaekit: reports."""
