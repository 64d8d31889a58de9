"""What the vectors of an index say as a whole: clusters, outliers, diversity, labels.

The modules are functions over arrays, except vectors.py, which reads an index.
"""
