"""Keeps the books: ledger, positions, margin, valuation, performance and risk *analytics*."""
