"""Maps of points: projections, neighbours, and how faithful a map is."""
