"""What flows between the steps: emotions, records, crops and rejects, and how they are stored."""
