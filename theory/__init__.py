"""Theory and statistics of the four papers, on numpy, scipy and statsmodels alone.

`theory.pass_kt` holds PASS@(k,T) estimation, `theory.inference` the tests, intervals and power calculations.
"""
