"""Other people's monitoring tools, which look at the same days as Flywheel's watch."""
