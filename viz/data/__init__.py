"""Pictures of data, before there is a model."""
