"""Shows: projections of the tape, metrics, structured logs, traces, alerts."""
