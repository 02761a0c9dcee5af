"""Turns approvals into fills: the order state table, and one folder per venue."""
