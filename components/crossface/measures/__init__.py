"""What predictions are worth: scores, calibration, groups of people, and one model beside another."""
