"""A recorded session runs once more: step by step, up to a place, or with other code."""
