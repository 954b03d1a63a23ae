"""The LightningModule and what goes on around it while it trains."""
