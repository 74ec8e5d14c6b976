"""What leaves vaekit: reports and picture files."""
