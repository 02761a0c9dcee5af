"""Interactive Brokers: stocks, through TWS or IB Gateway and ib_async."""
