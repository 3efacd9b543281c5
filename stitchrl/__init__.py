"""A testbed for stitching and generalization in offline reinforcement learning."""

__version__ = "0.1.0"  # pyproject.toml takes it from here
