"""Step crop_faces: cuts every recorded face out of its photo as a square of one size."""
