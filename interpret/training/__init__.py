"""Training records: a recorder, readers of other tools' logs, and what looks ill in a run."""
