"""Denials: what a denial message says, and which policy type denied."""
