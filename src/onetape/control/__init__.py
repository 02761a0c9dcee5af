"""Lets people in: CLI, API, dashboard, deployments."""
