"""Small gateware designs the host tests run on the virtual board."""
