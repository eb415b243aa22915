"""Several targets in one run: read together, judged apart, put for review one by one or by
group.
"""
