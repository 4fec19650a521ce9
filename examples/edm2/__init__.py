"""Published EDM and EDM2 networks on the samplers of stiffguide; the commands are one file up."""
