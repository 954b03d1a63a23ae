"""Check that runs can be reproduced: train one again, or kill and resume one, and compare the results bit by bit."""
