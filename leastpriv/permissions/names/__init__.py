"""The model of an app's names: text with a slot for the copy of the app and slots for the run.

In come the resources that the runs of one target used; out go the resources of each action.
"""
