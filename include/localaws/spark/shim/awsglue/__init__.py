"""The package that Glue jobs import; see the README beside it for what it covers."""

from awsglue.dynamicframe import DynamicFrame

__all__ = ["DynamicFrame"]
