"""A campaign of faults against the store: `pytest tests/campaign -m campaign -n 0 -s --campaign-table TABLE.md`."""
