"""Us beside our peers, on the same work, in one run."""
