"""What was submitted, and what jobs report about themselves: attempts, the ledger, start and end
records, the head of a Ray cluster, the interface of a backend (contract.py). Imports base.
"""
