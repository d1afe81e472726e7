"""Questions that a whole dataset answers about a model, one file for each."""
