"""The interfaces of other libraries, translated to `solve`."""
