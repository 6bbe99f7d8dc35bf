"""Uploads what the store holds to the services people use."""
