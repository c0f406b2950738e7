"""What charts and programs see of a study: its trials as columns, and pure analyses over them. Writes nothing."""
