"""Pictures of a training: its losses, gradients, updates and distributions over the steps."""
