"""Live feeds: one module a source, each behind the port of `port.py`."""
