"""Adapters: other worlds' problems as this package's."""
