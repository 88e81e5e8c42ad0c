use lance_backfill_core::message::Wake;

use super::*;

/// As S3 sends them, with all that we do not read.
fn record(event: &str, key: &str) -> String {
    format!(
        r#"{{"eventVersion":"2.1","eventSource":"aws:s3","awsRegion":"us-east-1",
        "eventTime":"2026-11-23T10:11:12.123Z","eventName":"{event}",
        "userIdentity":{{"principalId":"AWS:AROA:session"}},
        "requestParameters":{{"sourceIPAddress":"10.1.2.3"}},
        "responseElements":{{"x-amz-request-id":"C3D13FE58DE4C810","x-amz-id-2":"FMyUVURIY8/IgAtTv8xRjskZ"}},
        "s3":{{"s3SchemaVersion":"1.0","configurationId":"tables",
        "bucket":{{"name":"lake","ownerIdentity":{{"principalId":"A3NL1KOZZKExample"}},"arn":"arn:aws:s3:::lake"}},
        "object":{{"key":"{key}","size":1024,"eTag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"0055AED6DCD90281E5"}}}}}}"#
    )
}

fn events(records: &[String]) -> Intake {
    read(&format!(r#"{{"Records":[{}]}}"#, records.join(","))).expect("it is read")
}

fn written(table: &str, version: u64) -> Written {
    Written {
        table: table.to_owned(),
        version,
        seen: Some(SeenVersion {
            version,
            size_bytes: 1024,
            tag: Some("\"d41d8cd98f00b204e9800998ecf8427e\"".to_owned()),
        }),
    }
}

/// The only event, which is ignored.
fn ignored(intake: Intake) -> String {
    match intake {
        Intake::Events { written, ignored } if written.is_empty() && ignored.len() == 1 => {
            ignored.into_iter().next().expect("one")
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn versions_of_tables_are_found_in_notifications() {
    for (key, table, version) in [
        ("a/t.lance/_versions/7.manifest", "s3://lake/a/t.lance", 7),
        (
            "db/my%2Btable+1.lance/_versions/18446744073709551614.manifest",
            "s3://lake/db/my+table 1.lance",
            1,
        ),
        (
            "gr%C3%B6%C3%9Fe%26%3D%25/_versions/18446744073709551610.manifest",
            "s3://lake/größe&=%",
            5,
        ),
        ("tree/oak/_versions/3.manifest", "s3://lake/tree/oak", 3),
    ] {
        for event in [
            "ObjectCreated:Put",
            "ObjectCreated:CompleteMultipartUpload",
            "s3:ObjectCreated:Copy",
        ] {
            let found = events(&[record(event, key)]);
            let expected = Intake::Events {
                written: vec![written(table, version)],
                ignored: vec![],
            };
            assert_eq!(found, expected, "{event} {key}");
        }
    }
}

#[test]
fn what_is_no_new_version_is_ignored_with_the_reason() {
    for (event, key, about) in [
        (
            "ObjectRemoved:Delete",
            "t.lance/_versions/7.manifest",
            "no new object",
        ),
        ("ObjectCreated:Put", "t.lance/data/a.lance", "no manifest"),
        (
            "ObjectCreated:Put",
            "t.lance/_versions/7.manifest.tmp",
            "no manifest",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/_versions/99999999999999999999.manifest",
            "no manifest",
        ),
        ("ObjectCreated:Put", "_versions/7.manifest", "no manifest"),
        (
            "ObjectCreated:Put",
            "t.lance/_versions/-1.manifest",
            "no manifest",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/_versions/d123.manifest",
            "detached",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/tree/dev/_versions/7.manifest",
            "branch",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/tree/dev/a/_versions/7.manifest",
            "branch",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/_mem_wal/x/_versions/7.manifest",
            "inside a table",
        ),
        (
            "ObjectCreated:Put",
            "t.lance/_indices/x/_versions/7.manifest",
            "inside a table",
        ),
    ] {
        let reason = ignored(events(&[record(event, key)]));
        assert!(reason.contains(about), "{key}: {reason}");
    }
    let test = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Time":"2026-11-23T10:11:12.123Z","Bucket":"lake","RequestId":"5582815E1AEA5ADF","HostId":"8cLeGAmw098X5cv4Zkwcmo8vvZa3eH3eKxsPzbB9wrR+YstdA6Knx4Ip8EXAMPLE"}"#;
    assert!(ignored(read(test).expect("read")).contains("tests"));
}

#[test]
fn one_bad_event_does_not_hide_its_neighbours() {
    let found = events(&[
        record("ObjectCreated:Put", "t.lance/data/a.lance"),
        record("ObjectCreated:Put", "t.lance/_versions/7.manifest"),
    ]);
    let Intake::Events { written, ignored } = found else {
        panic!("{found:?}");
    };
    assert_eq!((written.len(), ignored.len()), (1, 1));
}

#[test]
fn eventbridge_gives_keys_as_they_are() {
    let event = r#"{"version":"0","id":"17793124-05d4-b198-2fde-7ededc63b103","detail-type":"Object Created",
        "source":"aws.s3","account":"111122223333","time":"2026-11-23T00:00:00Z","region":"ca-central-1",
        "resources":["arn:aws:s3:::lake"],"detail":{"version":"0","bucket":{"name":"lake"},
        "object":{"key":"my+table 1.lance/_versions/7.manifest","size":1024,"etag":"d41d8cd98f00b204e9800998ecf8427e","sequencer":"617f08299329d189"},
        "request-id":"N4N7GDK58NMKJ12R","requester":"123456789012","source-ip-address":"1.2.3.4","reason":"PutObject"}}"#;
    let expected = Intake::Events {
        written: vec![written("s3://lake/my+table 1.lance", 7)],
        ignored: vec![],
    };
    assert_eq!(read(event), Ok(expected));
    let scheduled = r#"{"version":"0","id":"53dc4d37","detail-type":"Scheduled Event","source":"aws.events",
        "account":"123456789012","time":"2026-11-23T18:30:00Z","region":"us-east-1","resources":[],"detail":{}}"#;
    assert_eq!(read(scheduled), Ok(Intake::Reconcile));
    let other = scheduled.replace("Scheduled Event", "EC2 Instance State-change Notification");
    assert!(ignored(read(&other).expect("read")).contains("EC2"));
}

#[test]
fn plans_are_read_and_what_is_nothing_of_ours_is_not() {
    let plan = PlanMessage::new("s3://lake/t.lance".to_owned(), Wake::Requested);
    let body = serde_json::to_string(&plan).expect("JSON");
    assert_eq!(read(&body), Ok(Intake::Plan(plan)));
    for (body, about) in [
        ("", "not a message"),
        ("not JSON", "not a message"),
        ("{}", "neither"),
        ("[]", "not a message"),
        (
            r#"{"Records":[{"eventName":"ObjectCreated:Put"}]}"#,
            "not a message",
        ),
        (
            r#"{"detail-type":"Object Created","detail":{}}"#,
            "Object Created",
        ),
        (r#"{"version":9,"table":"s3://lake/t.lance"}"#, "upgrade"),
        (r#"{"version":1,"table":"s3://lake/t.lance"}"#, "damaged"),
        (
            r#"{"version":1,"table":7,"why":"requested","hops":0}"#,
            "damaged",
        ),
    ] {
        let unreadable = read(body).expect_err(body);
        assert!(
            unreadable.reason.contains(about),
            "{body}: {}",
            unreadable.reason
        );
    }
}
