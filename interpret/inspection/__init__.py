"""Looking at a model: what it holds, what it predicts, where its loss lies."""
