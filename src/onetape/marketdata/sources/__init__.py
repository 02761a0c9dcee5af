"""Where bars come from over the network: one port, one file for each provider."""
