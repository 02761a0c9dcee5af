"""The words of the business. Imports nothing of ours; every other package imports from here."""
