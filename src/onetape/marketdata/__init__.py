"""History in, events out: import, quality checks, versioned catalog, merged timeline."""
