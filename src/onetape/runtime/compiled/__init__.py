"""The compiled host: a strategy's own callbacks and our rules, as one compiled loop."""
