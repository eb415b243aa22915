"""What calls need: the catalogue of actions, the mapping of events, resources, visibility,
siblings.
"""
