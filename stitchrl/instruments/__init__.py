"""Instruments: what is measured of a run while it trains, one file each."""
