"""Recipes, the options of ``experiment=``, with what they reached."""
