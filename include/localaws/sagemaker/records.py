"""Batch Transform's way with records: split, filter, batch; then check, join, filter and assemble the answers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from localaws.sagemaker.json_path import FilterError, column_picks, selector

MB = 1024 * 1024
CSV, JSON, JSON_LINES = "text/csv", "application/json", "application/jsonlines"


class RecordError(ValueError):
    """Records cannot be read, filtered or joined; the text says which and why."""


def media_type(content_type: str | None) -> str:
    """`text/csv; charset=utf-8` gives `text/csv`."""
    return (content_type or "").split(";", 1)[0].strip().lower()


def lines(data: bytes) -> list[str]:
    """The records of SplitType Line: one per line, without line ends; the end of the last line makes no record.

    :raises RecordError: it is no UTF-8
    """
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecordError(f"the input is not UTF-8: {error}") from error
    found = text.replace("\r\n", "\n").split("\n")
    if found and found[-1] == "":
        found.pop()
    return found


def batches(records: Sequence[str], limit_mb: int, *, single: bool) -> Iterator[list[str]]:
    """Records in requests: one each (SingleRecord), or as many as the payload limit takes (MultiRecord).

    :param limit_mb: MaxPayloadInMB; 0 means no limit
    :raises RecordError: one record alone is larger than the limit
    """
    limit = limit_mb * MB or None
    batch: list[str] = []
    size = 0
    for number, record in enumerate(records, start=1):
        length = len(record.encode("utf-8")) + 1
        if limit and length > limit:
            raise RecordError(f"record {number} has {length} bytes: Too much data for max payload size ({limit_mb} MB)")
        if batch and (single or (limit and size + length > limit)):
            yield batch
            batch, size = [], 0
        batch.append(record)
        size += length
    if batch:
        yield batch


class CsvFilter:
    """A JSONPath on CSV rows, turned into column positions once per row width."""

    def __init__(self, path: str):
        self.path = path
        self._picks: dict[int, list[int] | None] = {}

    @property
    def everything(self) -> bool:
        """Whether the filter leaves rows as they are."""
        return self.path.strip() in ("", "$")

    def __call__(self, row: list[str]) -> list[str]:
        """The fields that the filter picks, in its order."""
        width = len(row)
        if width not in self._picks:
            self._picks[width] = column_picks(self.path, width)
        picks = self._picks[width]
        return row if picks is None else [row[at] for at in picks]


def parse_row(line: str) -> list[str]:
    """The fields of one CSV line; the slow parser only where there are quotes."""
    if '"' not in line:
        return line.split(",")
    return next(csv.reader([line], strict=True), [])


def format_row(fields: Sequence[str]) -> str:
    """One CSV line of fields, quoted where it must be."""
    line = ",".join(fields)
    if '"' not in line and line.count(",") == len(fields) - 1 and "\n" not in line:
        return line
    stream = io.StringIO()
    csv.writer(stream, lineterminator="").writerow(fields)
    return stream.getvalue()


class DataProcessing:
    """InputFilter, JoinSource and OutputFilter of one transform job, for CSV, JSON lines or whole JSON documents.

    :raises FilterError: a filter is not JSONPath that Batch Transform knows
    :raises RecordError: filters or a join are asked for, and the content type is neither CSV nor JSON
    """

    def __init__(self, config: dict[str, str], content_type: str | None, *, by_line: bool):
        self.input_path = config.get("InputFilter") or "$"
        self.output_path = config.get("OutputFilter") or "$"
        self.join = config.get("JoinSource", "None") == "Input"
        self.by_line = by_line
        media = media_type(content_type)
        self.csv = media == CSV
        active = self.join or self.input_path != "$" or self.output_path != "$"
        if active and media not in (CSV, JSON, JSON_LINES):
            raise RecordError(
                f"DataProcessing works on {CSV}, {JSON} and {JSON_LINES}; found ContentType {media or 'not set'}"
            )
        if active and self.csv and not by_line:
            raise RecordError("DataProcessing on CSV needs SplitType Line")
        self._csv_input, self._csv_output = CsvFilter(self.input_path), CsvFilter(self.output_path)
        self._json_input, self._json_output = selector(self.input_path), selector(self.output_path)
        if self.csv:
            for path in (self.input_path, self.output_path):
                column_picks_syntax(path)

    @property
    def changes_output(self) -> bool:
        """Whether answers must be taken apart; else they are passed through as they are."""
        return self.join or self.output_path != "$"

    def inputs(self, records: list[str]) -> list[str]:
        """The records as the container gets them.

        :raises RecordError: a record is no CSV or JSON, or lacks what the filter picks
        """
        if self.input_path == "$":
            return records
        if self.csv:
            pick = self._csv_input
            return _each(records, lambda record: format_row(pick(parse_row(record))))
        return _each(records, lambda record: json.dumps(self._json_input(json.loads(record))))

    def outputs(self, records: Sequence[str], answer: bytes) -> list[str]:
        """The answers to a batch of records, joined and filtered.

        :param records: the records as they were in the input, not as the filter made them
        :raises RecordError: there are not as many answers as records, or they cannot be read
        """
        answers = self._answers(answer)
        if len(answers) != len(records):
            raise RecordError(
                f"Failed to join the algorithm's output with the input: {len(records)} input records, "
                f"{len(answers)} output records"
            )
        pairs = list(zip(records, answers, strict=True))
        if not self.csv:
            return _each(pairs, lambda pair: json.dumps(self._json_output(self._joined(*map(json.loads, pair)))))
        if self.join and self._csv_output.everything:
            return [f"{record},{said}" for record, said in pairs]
        pick = self._csv_output
        return _each(
            pairs, lambda pair: format_row(pick((parse_row(pair[0]) if self.join else []) + parse_row(pair[1])))
        )

    def _answers(self, answer: bytes) -> list[str]:
        if self.by_line:
            return lines(answer)
        try:
            return [answer.decode("utf-8")]
        except UnicodeDecodeError as error:
            raise RecordError(f"Failed to parse output from the algorithm: {error}") from error

    def _joined(self, record: Any, answer: Any) -> Any:
        if not self.join:
            return answer
        if isinstance(record, dict):
            return {**record, "SageMakerOutput": answer}
        return {"SageMakerInput": record, "SageMakerOutput": answer}


def column_picks_syntax(path: str) -> None:
    """:raises FilterError: the path could not be for CSV rows of any width."""
    try:
        column_picks(path, 1000)
    except FilterError as error:
        if "out of range" not in str(error):
            raise


def assemble(parts: Sequence[str], *, by_line: bool) -> bytes:
    """The output file: records one per line (AssembleWith Line), or put together as they are."""
    if by_line:
        return "".join(f"{part}\n" for part in parts).encode("utf-8")
    return "".join(parts).encode("utf-8")


def _each(items: Sequence[Any], change: Callable[[Any], str]) -> list[str]:
    changed = []
    try:
        for item in items:
            changed.append(change(item))
    except (FilterError, csv.Error, ValueError) as error:
        raise RecordError(f"record {len(changed) + 1}: {error}") from error
    return changed
