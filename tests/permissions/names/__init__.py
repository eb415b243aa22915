"""Tests of the model of an app's names."""
