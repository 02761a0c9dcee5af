"""Session wiring: one file a mode, the only place that picks adapters."""
