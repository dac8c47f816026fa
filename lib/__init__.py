"""
PP-LinkNet as a house of wings: data flows from `osm` to `show`, and a wing imports only from wings below it.

    osm -> masks -> chips -> training -> mapping -> scores -> show

A wing hands on the names that a notebook needs (`from lib.networks import load_model`) and loads a room when one of
its names is asked for, so that a machine without GIS packages can train. Inside lib/ rooms import rooms
(`from lib.networks.checkpoint import load_model`): so each arrow is written down, and a test holds their direction.
"""
