"""Uploads managed over REST: the routes, and a client of the uploader, which is asked over the bus."""
