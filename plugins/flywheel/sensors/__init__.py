"""Sensors: they ask one question of what was measured."""
