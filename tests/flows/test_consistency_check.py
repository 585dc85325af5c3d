"""Looking with the rules of a pack."""
