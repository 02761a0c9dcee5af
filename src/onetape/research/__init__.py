"""Asks many questions: experiments, sweeps, walk-forward, optimization, reports, notebook kit."""
