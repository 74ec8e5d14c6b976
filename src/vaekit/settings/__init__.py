"""What arguments may be: the values that suit an annotation, and parts that are chosen by name."""
