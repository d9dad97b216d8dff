"""Feature modules: one per model, named in its spec.

A module has two functions, each from a dict of DataFrames by dataset name (with their partition column ``ds``) to a DataFrame::

    features(inputs) -> entity_id string, event_time timestamp_ntz, ds date, and one column per feature
    labels(inputs)   -> entity_id string, event_time timestamp_ntz, ds date, label int (double, where it is a number)

``ds`` is the calendar day of ``event_time``, in the time zone in which the model's days are counted. ``SNAPSHOTS`` names those
inputs that are not daily: of these it gets the newest snapshot that was there before the first day asked for. A feature may
look back over the days that the spec asks for (``lookback_days``) and not one minute past the moment of prediction.
"""
