"""Own footage: video files, the tracks of their people, and the windows that become clips."""
