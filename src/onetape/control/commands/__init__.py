"""One file per command (or family) of `onetape`; each imports what it needs when it runs."""
