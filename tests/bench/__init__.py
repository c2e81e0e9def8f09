"""Measurements against named rivals in the same run, interleaved; ratios are what counts."""
