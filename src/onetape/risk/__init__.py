"""Approves or refuses orders: one gate a file, limits, kill switch; the only mint of approvals."""
