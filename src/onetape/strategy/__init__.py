"""Decides: the SDK that strategies are written in, what finds and checks them, and the examples."""
