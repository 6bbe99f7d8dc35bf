"""Uploads managed over REST: the routes, and a client of the uploader behind the bus."""
