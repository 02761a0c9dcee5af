"""The realtime shell: everything around the core that waits, connects, sends and is told."""
