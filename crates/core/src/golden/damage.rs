//! Files of other versions, and files that somebody edited.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_ipc::reader::FileReader;
use arrow_ipc::writer::FileWriter;
use arrow_schema::{Field, Schema};
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_64;

use super::{Form, samples};
use crate::format::FormatError;

/// Columns, metadata and values of a snapshot's Arrow file.
#[derive(Debug, PartialEq)]
pub(super) struct Arrow {
    fields: Vec<Field>,
    metadata: BTreeMap<String, String>,
    batches: Vec<RecordBatch>,
}

pub(super) fn arrow(bytes: &[u8]) -> Arrow {
    let (file, digest) = bytes.split_last_chunk::<8>().expect("a digest");
    assert_eq!(xxh3_64(file).to_le_bytes(), *digest, "the digest");
    let reader = FileReader::try_new(Cursor::new(file), None).expect("an Arrow file");
    let schema = reader.schema();
    Arrow {
        fields: schema
            .fields()
            .iter()
            .map(|field| field.as_ref().clone())
            .collect(),
        metadata: schema.metadata().clone().into_iter().collect(),
        batches: reader.map(|batch| batch.expect("a batch")).collect(),
    }
}

/// The file with other columns and metadata, and a digest that fits.
fn forge(arrow: &Arrow) -> Vec<u8> {
    let schema = Schema::new_with_metadata(
        arrow.fields.clone(),
        arrow.metadata.clone().into_iter().collect(),
    );
    let mut bytes = vec![];
    let mut writer = FileWriter::try_new(&mut bytes, &schema).expect("a writer");
    for batch in &arrow.batches {
        let columns = batch.columns()[..arrow.fields.len()].to_vec();
        let batch = RecordBatch::try_new(Arc::new(schema.clone()), columns).expect("a batch");
        writer.write(&batch).expect("writes");
    }
    writer.finish().expect("finishes");
    drop(writer);
    bytes.extend_from_slice(&xxh3_64(&bytes).to_le_bytes());
    bytes
}

fn json_forms() -> Vec<(Form, Value)> {
    let forms = samples::all().into_iter().filter(Form::is_json);
    forms
        .map(|form| {
            let value = serde_json::from_slice(&form.golden()).expect("JSON");
            (form, value)
        })
        .collect()
}

fn read(form: &Form, value: &Value) -> Result<(), FormatError> {
    (form.read)(&serde_json::to_vec(value).expect("JSON")).map(|_| ())
}

fn snapshot() -> (Form, Arrow) {
    let form = samples::all()
        .into_iter()
        .find(|form| !form.is_json())
        .expect("a snapshot");
    let arrow = arrow(&form.golden());
    (form, arrow)
}

fn is_damaged(read: &Result<(), FormatError>) -> bool {
    matches!(read, Err(FormatError::Damaged { .. }))
}

#[test]
fn a_file_of_a_newer_program_says_so_whatever_else_is_in_it() {
    for (form, mut value) in json_forms() {
        value["version"] = json!(2);
        value["surprise"] = json!([1, {"two": 3}]);
        let error = read(&form, &value).expect_err("too new");
        let what = matches!(
            error,
            FormatError::Newer {
                found: 2,
                known: 1,
                ..
            }
        );
        assert!(what, "{}: {error}", form.name);
        assert!(
            error.to_string().contains("upgrade lance-backfill"),
            "{error}"
        );
    }
    let (form, mut arrow) = snapshot();
    arrow.metadata.insert("version".to_owned(), "2".to_owned());
    arrow.fields.pop();
    let error = (form.read)(&forge(&arrow))
        .map(|_| ())
        .expect_err("too new");
    assert!(
        matches!(
            error,
            FormatError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_file_without_a_version_or_with_an_impossible_one_is_damaged() {
    for (form, value) in json_forms() {
        for version in [
            json!(0),
            json!(-1),
            json!("1"),
            json!(1.5),
            json!(null),
            json!(4_294_967_296_u64),
        ] {
            let mut value = value.clone();
            value["version"] = version;
            assert!(
                is_damaged(&read(&form, &value)),
                "{} {}",
                form.name,
                value["version"]
            );
        }
        let mut without = value;
        without
            .as_object_mut()
            .expect("an object")
            .remove("version");
        assert!(is_damaged(&read(&form, &without)), "{}", form.name);
    }
    for version in ["0", "-1", "", "one"] {
        let (form, mut arrow) = snapshot();
        arrow
            .metadata
            .insert("version".to_owned(), version.to_owned());
        assert!(
            is_damaged(&(form.read)(&forge(&arrow)).map(|_| ())),
            "{version}"
        );
    }
    let (form, mut arrow) = snapshot();
    arrow.metadata.remove("version");
    assert!(is_damaged(&(form.read)(&forge(&arrow)).map(|_| ())));
}

/// Places of all objects in a value, as JSON pointers.
fn objects(value: &Value, at: &str, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            found.push(at.to_owned());
            for (name, value) in fields {
                objects(value, &format!("{at}/{name}"), found);
            }
        }
        Value::Array(values) => {
            for (place, value) in values.iter().enumerate() {
                objects(value, &format!("{at}/{place}"), found);
            }
        }
        _ => {}
    }
}

#[test]
fn a_field_that_nobody_knows_is_damage_wherever_it_is() {
    for (form, value) in json_forms() {
        let mut places = vec![];
        objects(&value, "", &mut places);
        for place in places {
            let mut edited = value.clone();
            let object = edited.pointer_mut(&place).and_then(Value::as_object_mut);
            object
                .expect("an object")
                .insert("surprise".to_owned(), json!(1));
            assert!(is_damaged(&read(&form, &edited)), "{} {place}", form.name);
        }
    }
}

#[test]
fn a_number_that_is_out_of_range_is_damage_wherever_it_is() {
    fn numbers(value: &Value, at: &str, found: &mut Vec<String>) {
        match value {
            Value::Number(number) if !number.is_f64() => found.push(at.to_owned()),
            Value::Object(fields) => fields
                .iter()
                .for_each(|(name, value)| numbers(value, &format!("{at}/{name}"), found)),
            Value::Array(values) => (0..).zip(values).for_each(|(place, value): (usize, _)| {
                numbers(value, &format!("{at}/{place}"), found)
            }),
            _ => {}
        }
    }
    for (form, value) in json_forms() {
        let mut places = vec![];
        numbers(&value, "", &mut places);
        for place in places {
            let mut edited = value.clone();
            *edited.pointer_mut(&place).expect("a number") = json!(1e30);
            assert!(is_damaged(&read(&form, &edited)), "{} {place}", form.name);
        }
    }
}

#[test]
fn a_snapshot_with_other_columns_or_without_a_head_is_damaged() {
    let (form, mut arrow) = snapshot();
    arrow.fields.pop();
    assert!(is_damaged(&(form.read)(&forge(&arrow)).map(|_| ())));
    for head in [
        None,
        Some(""),
        Some("{}"),
        Some(r#"{"table_version":1,"surprise":2}"#),
    ] {
        let (form, mut arrow) = snapshot();
        arrow.metadata.remove("head");
        if let Some(head) = head {
            arrow.metadata.insert("head".to_owned(), head.to_owned());
        }
        assert!(
            is_damaged(&(form.read)(&forge(&arrow)).map(|_| ())),
            "{head:?}"
        );
    }
    let (form, arrow) = snapshot();
    assert!(
        (form.read)(&forge(&arrow)).is_ok_and(|read| read.is_expected),
        "the forger is at fault"
    );
}
