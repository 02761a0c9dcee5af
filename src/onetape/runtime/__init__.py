"""Makes it run: clock, dispatcher, the one pipeline, compiled host, recovery, config, sessions."""
