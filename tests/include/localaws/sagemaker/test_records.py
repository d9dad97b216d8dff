"""Splitting, batching, filtering and joining records, without any model."""

from __future__ import annotations

import pytest

from localaws.sagemaker.json_path import FilterError
from localaws.sagemaker.records import DataProcessing, RecordError, assemble, batches, format_row, lines, parse_row


def csv(**config: str) -> DataProcessing:
    return DataProcessing(config, "text/csv; charset=utf-8", by_line=True)


def test_lines_end_where_the_file_says() -> None:
    assert lines(b"a\r\nb\n") == ["a", "b"]
    assert lines(b"a\n\nb") == ["a", "", "b"]
    assert lines(b"") == []
    with pytest.raises(RecordError, match="not UTF-8"):
        lines(b"\xff")


def test_batches_fill_the_payload_and_keep_the_order() -> None:
    records = [str(number) * 300_000 for number in range(8)]
    found = list(batches(records, 1, single=False))
    assert [len(batch) for batch in found] == [3, 3, 2]
    assert [record for batch in found for record in batch] == records
    assert [len(batch) for batch in batches(records, 1, single=True)] == [1] * 8
    assert len(list(batches(records, 0, single=False))) == 1
    with pytest.raises(RecordError, match=r"record 2 has 1048577 bytes: Too much data for max payload size \(1 MB\)"):
        list(batches(["a", "b" * 1024 * 1024], 1, single=False))


@pytest.mark.parametrize("row", [["a", "b"], ["a,1", ""], ['say "x"', "b"], [""]])
def test_rows_come_back_as_they_were(row: list[str]) -> None:
    assert parse_row(format_row(row)) == row


def test_csv_is_filtered_and_joined_by_position() -> None:
    processing = csv(InputFilter="$[1:]", JoinSource="Input", OutputFilter="$[0,-1]")
    records = ['"JFK, NY",1,2', "EWR,3,"]
    assert processing.inputs(records) == ["1,2", "3,"]
    assert processing.outputs(records, b"0.25\n0.5\n") == ['"JFK, NY",0.25', "EWR,0.5"]


def test_a_join_without_output_filter_keeps_the_line_as_it_is() -> None:
    assert csv(JoinSource="Input").outputs(['"a",1'], b"0.5") == ['"a",1,0.5']


def test_an_output_filter_alone_picks_from_the_answer() -> None:
    assert csv(OutputFilter="$[1]").outputs(["x,y"], b"a,b,c") == ["b"]


def test_json_documents_are_joined_whole() -> None:
    processing = DataProcessing({"JoinSource": "Input"}, "application/json", by_line=False)
    assert processing.outputs(['{"id": 1}'], b'{"score": 2}') == ['{"id": 1, "SageMakerOutput": {"score": 2}}']
    assert processing.outputs(["[1]"], b"[2]") == ['{"SageMakerInput": [1], "SageMakerOutput": [2]}']


def test_mismatches_and_unreadable_records_are_told() -> None:
    with pytest.raises(RecordError, match="2 input records, 1 output records"):
        csv(JoinSource="Input").outputs(["a", "b"], b"0.5\n")
    with pytest.raises(RecordError, match="record 2: JSONPath"):
        csv(InputFilter="$[1]").inputs(["a,b", "c"])
    with pytest.raises(RecordError, match="record 1: "):
        DataProcessing({"InputFilter": "$.a"}, "application/jsonlines", by_line=True).inputs(["{broken"])


def test_configurations_that_make_no_sense_are_refused() -> None:
    with pytest.raises(RecordError, match="found ContentType application/x-parquet"):
        DataProcessing({"JoinSource": "Input"}, "application/x-parquet", by_line=True)
    with pytest.raises(RecordError, match="needs SplitType Line"):
        DataProcessing({"JoinSource": "Input"}, "text/csv", by_line=False)
    with pytest.raises(FilterError, match="does not fit CSV"):
        csv(InputFilter="$.name")


def test_assembly() -> None:
    assert assemble(["a", "b"], by_line=True) == b"a\nb\n"
    assert assemble(["a", "b"], by_line=False) == b"ab"
    assert assemble([], by_line=True) == b""
