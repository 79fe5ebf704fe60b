"""Spiking networks: the models and the back ends that run them."""
