"""Models that travel: weights and settings of this project as other libraries write and read them."""
