"""How fast it is: each module measures one thing, prints a table and writes JSON.

Run as `python -m benchmarks.frame`; docs/benchmarks.md says what each measures.
"""
