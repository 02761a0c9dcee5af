"""Alpaca as a venue: orders by REST, reports by its `trade_updates` stream, through alpaca-py."""
