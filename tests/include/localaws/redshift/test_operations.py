"""The Data API's operations, called with boto3."""

from __future__ import annotations

import datetime
import time
import uuid

import pytest
from botocore.exceptions import ClientError

CROSSED = ", ".join(f"two t{n}" for n in range(16))
LONG = "select count(*) from (select row_number() over () as n from {})".format(", ".join(f"two t{n}" for n in range(34)))


def refused(call, **parameters):
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    return f"{caught.value.response['Error']['Code']}: {caught.value.response['Error']['Message']}"


def test_typed_fields_and_metadata(api):
    statement = api.start(
        "select 1 as i, 2::bigint as b, 1.50::decimal(5, 2) as d, 0.5::float8 as f, 'x' as s, true as t, null as n, "
        "date '2013-01-01' as day, timestamp '2013-01-01 05:00:00.25' as at, '2013-01-01 05:00:00+01'::timestamptz as z"
    )
    described = api.ended(statement)
    assert described["HasResultSet"]
    assert (described["ResultRows"], described["Status"]) == (1, "FINISHED")
    assert isinstance(described["CreatedAt"], datetime.datetime)
    assert described["Duration"] > 0
    result = api.client.get_statement_result(Id=statement)
    assert result["Records"] == [
        [{"longValue": 1}, {"longValue": 2}, {"stringValue": "1.50"}, {"doubleValue": 0.5}, {"stringValue": "x"},
         {"booleanValue": True}, {"isNull": True}, {"stringValue": "2013-01-01"},
         {"stringValue": "2013-01-01 05:00:00.25"}, {"stringValue": "2013-01-01 04:00:00+00"}]
    ]  # fmt: skip
    assert [column["typeName"] for column in result["ColumnMetadata"]][:6] == [
        "int4", "int8", "numeric", "float8", "varchar", "bool",
    ]  # fmt: skip
    assert (result["ColumnMetadata"][2]["precision"], result["ColumnMetadata"][2]["scale"]) == (5, 2)


def test_results_come_in_pages(api):
    api.run(["create table two as select 1 as x union all select 2",
             f"create table many as select row_number() over () as n from {CROSSED}"])  # fmt: skip
    statement = api.start("select n, repeat('x', 20) as pad from many order by n")
    assert api.ended(statement)["ResultRows"] == 65536
    pages = list(api.client.get_paginator("get_statement_result").paginate(Id=statement))
    assert len(pages) > 2
    assert [record[0]["longValue"] for page in pages for record in page["Records"]] == list(range(1, 65537))
    assert {page["TotalNumRows"] for page in pages} == {65536}
    assert "ValidationException" in refused(api.client.get_statement_result, Id=statement, NextToken="x")


def test_parameters(api):
    api.run(["create table t (id int, day date)", "insert into t values (1, '2013-01-01'), (2, '2013-02-01')"])
    rows = api.rows("select id from t where id = :id and day <= :day",
                    Parameters=[{"name": "id", "value": "1"}, {"name": "day", "value": "2013-01-31"}])  # fmt: skip
    assert rows == [[1]]
    call = api.client.execute_statement
    x = {"name": "x", "value": "1"}
    assert "Parameters list contains unused parameters. Unused parameters: [x]" in refused(
        call, Sql="select ':x'", Parameters=[x], **api.target
    )
    assert "Cannot find parameter: y" in refused(call, Sql="select :x::int + :y::int", Parameters=[x], **api.target)
    assert "duplicate" in refused(call, Sql="select :x", Parameters=[x, x], **api.target)


def test_a_batch_is_one_transaction(api):
    found = api.run(["create table t (x int)", "insert into t values (1), (2)", "select x from t order by x"])
    assert found["Status"] == "FINISHED"
    assert [(part["Id"], part["Status"], part["HasResultSet"], part["ResultRows"]) for part in found["SubStatements"]] == [
        (f"{found['Id']}:1", "FINISHED", False, 0),
        (f"{found['Id']}:2", "FINISHED", False, 2),
        (f"{found['Id']}:3", "FINISHED", True, 2),
    ]
    assert api.client.get_statement_result(Id=f"{found['Id']}:3")["TotalNumRows"] == 2
    assert "can only be retrieved with sub-statement id" in refused(api.client.get_statement_result, Id=found["Id"])
    assert "ResourceNotFoundException: Query does not have result" in refused(
        api.client.get_statement_result, Id=f"{found['Id']}:2"
    )
    assert api.client.describe_statement(Id=f"{found['Id']}:2")["QueryString"] == "insert into t values (1), (2)"


def test_a_failed_batch_leaves_nothing_behind(api):
    api.run("create table t (x int)")
    found = api.run(["insert into t values (1)", "select * from nope", "insert into t values (2)"])
    assert (found["Status"], found["Error"]) == ("FAILED", 'ERROR: relation "nope" does not exist')
    assert [(part["Status"], part.get("Error")) for part in found["SubStatements"]] == [
        ("FINISHED", None),
        ("FAILED", 'ERROR: relation "nope" does not exist'),
        ("ABORTED", "Connection or an prior query failed."),
    ]
    assert api.rows("select count(*) from t") == [[0]]
    api.run(["insert into t values (1)", "select * from nope"], ExecutionMode="AUTO_COMMIT")
    assert api.rows("select count(*) from t") == [[1]]


def test_truncate_in_a_batch_commits(api):
    api.run(["create table t (x int)", "create table log (x int)", "insert into t values (1)"])
    assert api.run(["insert into log values (1)", "truncate t", "select 1 / 0"])["Status"] == "FAILED"
    assert api.rows("select (select count(*) from t), (select count(*) from log)") == [[0, 1]]


def test_a_client_token_starts_one_statement(api):
    api.run("create table t (x int)")
    token = str(uuid.uuid4())
    first = api.start("insert into t values (1)", ClientToken=token)
    assert api.start("insert into t values (1)", ClientToken=token) == first
    api.ended(first)
    assert api.start("insert into t values (1)", ClientToken=token) == first
    assert api.rows("select count(*) from t") == [[1]]
    assert "ClientToken was used before" in refused(
        api.client.execute_statement, Sql="insert into t values (2)", ClientToken=token, **api.target
    )


def test_cancel(api):
    api.run("create table two as select 1 as x union all select 2")
    statement = api.start(LONG)
    assert api.client.cancel_statement(Id=statement)["Status"] is True
    described = api.ended(statement)
    assert (described["Status"], described["Error"]) == ("ABORTED", "ERROR: Query cancelled on user's request")
    assert "already in ABORTED state" in refused(api.client.cancel_statement, Id=statement)
    assert api.rows("select count(*) from two") == [[2]]


def test_cancel_at_any_moment(api):
    api.run("create table two as select 1 as x union all select 2")
    for attempt in range(30):
        statement = api.start(LONG)
        time.sleep(0.002 * (attempt % 10))
        assert api.client.cancel_statement(Id=statement)["Status"] is True
        assert api.ended(statement)["Status"] == "ABORTED"
    assert api.rows("select count(*) from two") == [[2]]


def test_cancel_rolls_a_batch_back(api):
    api.run("create table two as select 1 as x union all select 2")
    statement = api.start(["insert into two values (3)", LONG])
    api.client.cancel_statement(Id=statement)
    assert api.ended(statement)["Status"] == "ABORTED"
    assert api.rows("select count(*) from two") == [[2]]


def test_sessions(api):
    started = api.client.execute_statement(
        Sql="create temp table mine as select 1 as x", SessionKeepAliveSeconds=60, WaitTimeSeconds=30, **api.target
    )
    assert started["Status"] == "FINISHED"
    session = started["SessionId"]
    again = api.client.execute_statement(Sql="select x from mine", SessionId=session, WaitTimeSeconds=30, ResultFormat="CSV")
    result = api.client.get_statement_result_v2(Id=again["Id"])
    assert result["Records"] == [{"CSVRecords": "1\r\n"}]
    assert "read it with GetStatementResultV2" in refused(api.client.get_statement_result, Id=again["Id"])
    assert [found["Status"] for found in api.client.list_sessions(SessionId=session)["Sessions"]] == ["AVAILABLE"]
    assert "cannot be given together with" in refused(
        api.client.execute_statement, Sql="select 1", SessionId=session, Database="x"
    )
    ended = api.client.execute_statement(Sql="select 1", SessionId=session, SessionKeepAliveSeconds=0, WaitTimeSeconds=30)
    assert ended["Status"] == "FINISHED"
    assert "ResourceNotFoundException" in refused(api.client.execute_statement, Sql="select 1", SessionId=session)
    assert 'relation "mine" does not exist' in api.error("select * from mine")


def test_list_statements(api):
    name = f"named-{uuid.uuid4()}"
    one = api.run("select 1", StatementName=name)["Id"]
    two = api.run(["select 2", "select 3"], StatementName=f"{name}-batch")["Id"]
    found = api.client.list_statements(StatementName=name)["Statements"]
    assert [item["Id"] for item in found] == [two, one]
    assert found[0]["QueryStrings"] == ["select 2", "select 3"]
    assert found[1]["QueryString"] == "select 1"
    first = api.client.list_statements(StatementName=name, MaxResults=1)
    assert [item["Id"] for item in first["Statements"]] == [two]
    rest = api.client.list_statements(StatementName=name, MaxResults=1, NextToken=first["NextToken"])
    assert [item["Id"] for item in rest["Statements"]] == [one]
    assert api.client.list_statements(StatementName=name, Status="FAILED")["Statements"] == []


def test_the_catalog(api):
    api.run(["create schema shop", "create table shop.orders (id bigint not null, code varchar(8) default 'x')",
             "create view shop.codes as select code from shop.orders"])  # fmt: skip
    assert api.client.list_schemas(**api.target)["Schemas"] == ["public", "shop"]
    assert api.client.list_tables(SchemaPattern="sh%", **api.target)["Tables"] == [
        {"name": "codes", "type": "VIEW", "schema": "shop"},
        {"name": "orders", "type": "TABLE", "schema": "shop"},
    ]
    columns = api.client.describe_table(Schema="shop", Table="orders", **api.target)["ColumnList"]
    assert [(item["name"], item["typeName"], item["nullable"], item["length"]) for item in columns] == [
        ("id", "int8", 0, 64),
        ("code", "varchar", 1, 8),
    ]
    assert api.target["Database"] in api.client.list_databases(**api.target)["Databases"]


def test_wrong_requests(api):
    call = api.client.execute_statement
    database = {"Database": "dev"}
    assert "Either ClusterIdentifier or WorkgroupName" in refused(call, Sql="select 1", **database)
    assert "Only one of" in refused(call, Sql="select 1", WorkgroupName="one", ClusterIdentifier="two", **database)
    assert "Database must be specified" in refused(call, Sql="select 1", WorkgroupName="one")
    assert "DbUser is not supported with WorkgroupName" in refused(
        call, Sql="select 1", WorkgroupName="one", DbUser="me", **database
    )
    assert "Only one of DbUser and SecretArn" in refused(
        call, Sql="select 1", ClusterIdentifier="one", DbUser="me", SecretArn="arn:x", **database
    )
    assert "not valid" in refused(call, Sql="select 1", WorkgroupName="one", Database="../up")
    assert "cannot be empty" in refused(call, Sql="  ", **api.target)
    assert "the maximum is 102400" in refused(call, Sql="select 1 --" + "x" * 103000, **api.target)
    assert "sends no events" in refused(call, Sql="select 1", WithEvent=True, **api.target)
    assert "ValidationException" in refused(api.client.describe_statement, Id="x" * 36)
    assert "ResourceNotFoundException: Query does not exist." in refused(api.client.describe_statement, Id=str(uuid.uuid4()))


def test_a_provisioned_cluster_takes_a_user(api):
    answer = api.client.execute_statement(
        Sql="select 1", ClusterIdentifier="one", DbUser="me", Database=api.target["Database"], WaitTimeSeconds=30
    )
    assert (answer["ClusterIdentifier"], answer["DbUser"], answer["Status"]) == ("one", "me", "FINISHED")


def test_everything_survives_a_kill(start_local_aws, data_api, tmp_path):
    first = start_local_aws(tmp_path)
    api = data_api(first, "dev")
    api.run(["create table two as select 1 as x union all select 2"])
    token = str(uuid.uuid4())
    selected = api.run("select x from two order by x", ClientToken=token)["Id"]
    running = api.start(["insert into two values (3)", LONG])
    while api.client.describe_statement(Id=running)["SubStatements"][1]["Status"] != "STARTED":
        time.sleep(0.02)
    first.kill()
    api = data_api(start_local_aws(tmp_path), "dev")
    lost = api.ended(running)
    assert lost["Status"] == "FAILED"
    assert "the local AWS was stopped while the statement ran; it was rolled back" in lost["Error"]
    assert api.start("select x from two order by x", ClientToken=token) == selected
    assert api.client.get_statement_result(Id=selected)["Records"] == [[{"longValue": 1}], [{"longValue": 2}]]
    assert api.rows("select count(*) from two") == [[2]]
