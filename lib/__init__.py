"""PP-LinkNet: roads and buildings from satellite imagery, trained on OpenStreetMap first, on clean masks second."""
