"""Many runs, read without torch: find, list, tag, remove and compare them."""
