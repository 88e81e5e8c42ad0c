//! What an API server does with JSON.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fields by their path; lists are values as a whole. What names an object is not among them.
pub(crate) fn leaves(object: &Value) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    walk(object, String::new(), &mut found);
    for named in [
        "/apiVersion",
        "/kind",
        "/metadata/name",
        "/metadata/namespace",
        "/metadata/resourceVersion",
        "/metadata/uid",
        "/metadata/creationTimestamp",
        "/metadata/generation",
    ] {
        found.remove(named);
    }
    found
}

fn walk(value: &Value, path: String, found: &mut BTreeMap<String, Value>) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (key, value) in fields {
                let key = key.replace('~', "~0").replace('/', "~1");
                walk(value, format!("{path}/{key}"), found);
            }
        }
        Value::Null => {}
        value => {
            found.insert(path, value.clone());
        }
    }
}

pub(crate) fn put(object: &mut Value, path: &str, value: Value) {
    let mut place = object;
    for key in keys(path) {
        if !place.is_object() {
            *place = Value::Object(Map::new());
        }
        place = &mut place[key.as_str()];
    }
    *place = value;
}

pub(crate) fn take(object: &mut Value, path: &str) {
    let (parent, key) = path.rsplit_once('/').expect("a path");
    if let Some(Value::Object(fields)) = object.pointer_mut(parent) {
        fields.remove(&unescaped(key));
    }
}

/// One operation of a JSON patch.
pub(crate) fn patch(object: &mut Value, operation: &Value) -> Result<(), String> {
    let path = operation["path"].as_str().expect("a path");
    match operation["op"].as_str().expect("an operation") {
        "test" => match object.pointer(path) == Some(&operation["value"]) {
            true => Ok(()),
            false => Err(format!("testing value {path} failed")),
        },
        "remove" => match object.pointer(path) {
            Some(_) => {
                take(object, path);
                Ok(())
            }
            None => Err(format!("there is no {path}")),
        },
        "add" => {
            let (parent, key) = path.rsplit_once('/').expect("a path");
            match object.pointer_mut(parent) {
                Some(Value::Object(fields)) => {
                    fields.insert(unescaped(key), operation["value"].clone());
                    Ok(())
                }
                _ => Err(format!("there is no {parent}")),
            }
        }
        other => panic!("no operation {other}"),
    }
}

pub(crate) fn merge(object: &mut Value, change: &Value) {
    let Value::Object(change) = change else {
        *object = change.clone();
        return;
    };
    if !object.is_object() {
        *object = json!({});
    }
    let fields = object.as_object_mut().expect("an object");
    for (key, value) in change {
        if value.is_null() {
            fields.remove(key);
        } else {
            merge(fields.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn keys(path: &str) -> Vec<String> {
    path.split('/').skip(1).map(unescaped).collect()
}

fn unescaped(key: &str) -> String {
    key.replace("~1", "/").replace("~0", "~")
}
