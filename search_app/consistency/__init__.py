"""The checker: do rankings still hold, and if not, why? Pure functions over arrays, one job each.

``ranking`` compares lists, ``evidence`` weighs what was seen over the nights, ``integrity`` looks
at stored bytes, ``causes`` names what explains a difference, ``verdict`` says what it comes to.
Only ``checking`` touches models, stores and the catalog.
"""
