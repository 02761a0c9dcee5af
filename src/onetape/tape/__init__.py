"""Remembers: the event envelope on disk, stores (SQLite first), hash chain, reading, sealing."""
