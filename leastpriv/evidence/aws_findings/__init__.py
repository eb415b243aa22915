"""AWS's own findings about a principal: coarse, and a second opinion. They may hold a change back, never add one."""
