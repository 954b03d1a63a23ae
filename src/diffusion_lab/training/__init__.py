"""The LightningModule, and the callbacks and plugins that are used while it trains."""
