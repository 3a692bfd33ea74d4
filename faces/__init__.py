"""From a video to its faces: reading frames, detecting faces, cutting them out. Shared by every job of the project."""
