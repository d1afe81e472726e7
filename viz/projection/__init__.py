"""Pictures of maps of points, and of how far to trust them."""
