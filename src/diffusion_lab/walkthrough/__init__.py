"""Parts of the notebooks in docs/walkthrough: checks of their exercises."""
