"""Forms in which the weights of published networks are kept: how `key_maps` reads each, and the way back."""
