"""Many runs, read without torch: find, list, mark, prune and compare them."""
