"""What was submitted, and what jobs report of themselves: attempts, the ledger, start and end
records, the head of a Ray cluster. Imports base.
"""
