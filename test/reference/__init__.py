"""Plain float64 decoders, written from the published formulas; slow and easy to check by eye.

Nothing here uses the package: the tests compare the two.
"""
