"""AWS as a second judge of a proposal: validation, custom checks, simulation. A judge that fails ends nothing."""
