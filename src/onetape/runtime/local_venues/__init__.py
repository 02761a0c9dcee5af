"""Local venues: servers on loopback that speak real venues' protocols over replayed data.

`exchange` keeps accounts and matches, `replay` plays the data in wall time, `faults` says what goes
wrong and when. None of them knows a protocol; each server beside them speaks one.
"""
