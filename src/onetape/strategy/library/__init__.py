"""The shipped strategies, each a complete and readable example."""
