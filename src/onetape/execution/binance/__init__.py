"""Binance spot as a venue."""
