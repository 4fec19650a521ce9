"""Errors that a campaign must find, one for each target: imported by a worker, they break it."""
