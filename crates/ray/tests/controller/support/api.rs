//! An API server in memory, as far as a pool needs one: it behaves as a real one does where it matters,
//! which is where writers meet.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use futures::executor::block_on;
use http::{Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tower::Service;

use super::json::{leaves, merge, patch, put, take};

/// Paths of RayClusters end in this, after the namespace.
pub(crate) const CLUSTERS: &str = "/apis/ray.io/v1/namespaces/lance-backfill/rayclusters";
pub(crate) const PODS: &str = "/api/v1/namespaces/lance-backfill/pods";
pub(crate) const SECRETS: &str = "/api/v1/namespaces/lance-backfill/secrets";
pub(crate) const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/lance-backfill/events";
pub(crate) const NODES: &str = "/api/v1/nodes";

type Hook = Box<dyn FnOnce(&FakeApi) + Send>;
/// Who owns what of an object: by name and operation of the writer.
type Managers = BTreeMap<(String, &'static str), BTreeSet<String>>;

#[derive(Clone, Default)]
pub(crate) struct FakeApi(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    managers: BTreeMap<String, Managers>,
    version: u64,
    /// Requests that change something, as method and path.
    writes: Vec<String>,
    before_write: Vec<Hook>,
    /// Answers instead of the real ones, for the next writes.
    refusals: Vec<(u16, &'static str)>,
    no_operator: bool,
    forbidden: Vec<&'static str>,
}

struct Answer(u16, Value);

impl FakeApi {
    pub(crate) fn client(&self) -> Client {
        Client::new(self.clone(), "lance-backfill")
    }

    /// Puts an object there, as somebody else would.
    pub(crate) fn put(&self, path: &str, mut object: Value) {
        let mut state = self.0.lock().unwrap();
        state.stamp(&mut object);
        state.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn get(&self, path: &str) -> Option<Value> {
        self.0.lock().unwrap().objects.get(path).cloned()
    }

    pub(crate) fn remove(&self, path: &str) {
        self.0.lock().unwrap().objects.remove(path);
    }

    pub(crate) fn list(&self, folder: &str) -> Vec<Value> {
        let prefix = format!("{folder}/");
        let state = self.0.lock().unwrap();
        let objects = state
            .objects
            .iter()
            .filter(|(path, _)| path.starts_with(&prefix));
        objects.map(|(_, object)| object.clone()).collect()
    }

    pub(crate) fn cluster(&self) -> Value {
        self.get(&format!("{CLUSTERS}/embeddings"))
            .expect("a RayCluster")
    }

    /// A group of the cluster.
    pub(crate) fn group(&self, name: &str) -> Value {
        let cluster = self.cluster();
        let groups = cluster["spec"]["workerGroupSpecs"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let found = groups.into_iter().find(|group| group["groupName"] == name);
        found.unwrap_or_else(|| panic!("a group {name}"))
    }

    /// Changes an object as its controller would: without asking anybody's leave.
    pub(crate) fn edit(&self, path: &str, change: impl FnOnce(&mut Value)) {
        let mut state = self.0.lock().unwrap();
        let mut object = state.objects.get(path).cloned().expect("an object");
        change(&mut object);
        state.stamp(&mut object);
        state.objects.insert(path.to_owned(), object);
    }

    pub(crate) fn writes(&self) -> Vec<String> {
        self.0.lock().unwrap().writes.clone()
    }

    /// Something that happens between a read and the write that is based on it.
    pub(crate) fn before_next_write(&self, hook: impl FnOnce(&FakeApi) + Send + 'static) {
        self.0.lock().unwrap().before_write.push(Box::new(hook));
    }

    /// The next write gets this answer.
    pub(crate) fn refuse_next_write(&self, code: u16, reason: &'static str) {
        self.0.lock().unwrap().refusals.push((code, reason));
    }

    pub(crate) fn without_operator(&self) {
        self.0.lock().unwrap().no_operator = true;
    }

    pub(crate) fn forbid(&self, what: &'static str) {
        self.0.lock().unwrap().forbidden.push(what);
    }

    fn answer(&self, method: &str, path: &str, query: &str, kind: &str, body: &[u8]) -> Answer {
        if method != "GET" {
            let (hooks, refusal) = {
                let mut state = self.0.lock().unwrap();
                (
                    std::mem::take(&mut state.before_write),
                    state.refusals.pop(),
                )
            };
            for hook in hooks {
                hook(self);
            }
            if let Some((code, reason)) = refusal {
                return status(code, reason, "as the test says", path);
            }
        }
        let mut state = self.0.lock().unwrap();
        if state.forbidden.iter().any(|word| path.contains(word)) {
            return status(403, "Forbidden", "this account cannot do that", path);
        }
        if state.no_operator && path.starts_with("/apis/ray.io") {
            return Answer(404, Value::Null);
        }
        if method != "GET" {
            state.writes.push(format!("{method} {path}"));
        }
        let names_one = [CLUSTERS, PODS, SECRETS, EVENTS, NODES]
            .iter()
            .all(|folder| path != *folder);
        let body: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
        match (method, names_one) {
            ("GET", true) => state.one(path),
            ("GET", false) => state.all(path, query),
            ("POST", false) => state.create(path, body),
            ("DELETE", true) => match state.objects.remove(path) {
                Some(object) => Answer(200, object),
                None => missing(path),
            },
            ("PATCH", true) => match kind {
                "application/apply-patch+yaml" => state.apply(path, query, &body),
                "application/json-patch+json" => state.json_patch(path, query, &body),
                "application/merge-patch+json" => state.merge_patch(path, query, &body),
                other => panic!("a patch of kind {other}"),
            },
            other => panic!("no such request: {other:?} {path}"),
        }
    }
}

impl State {
    fn stamp(&mut self, object: &mut Value) {
        self.version += 1;
        object["metadata"]["resourceVersion"] = json!(self.version.to_string());
    }

    fn one(&self, path: &str) -> Answer {
        match self.objects.get(path) {
            Some(object) => Answer(200, object.clone()),
            None => missing(path),
        }
    }

    fn all(&self, folder: &str, query: &str) -> Answer {
        let wanted = parameter(query, "labelSelector").unwrap_or_default();
        let wanted: Vec<(String, String)> =
            (wanted.split(',').filter_map(|pair| pair.split_once('=')))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect();
        let prefix = format!("{folder}/");
        let items: Vec<&Value> = (self.objects.iter())
            .filter(|(path, _)| path.starts_with(&prefix))
            .map(|(_, object)| object)
            .filter(|object| {
                wanted
                    .iter()
                    .all(|(key, value)| object["metadata"]["labels"][key] == value.as_str())
            })
            .collect();
        Answer(
            200,
            json!({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": self.version.to_string()}, "items": items}),
        )
    }

    fn create(&mut self, folder: &str, mut object: Value) -> Answer {
        let name = object["metadata"]["name"]
            .as_str()
            .expect("a name")
            .to_owned();
        self.stamp(&mut object);
        self.objects
            .insert(format!("{folder}/{name}"), object.clone());
        Answer(201, object)
    }

    /// Server-side apply: a list without keys is one value, which belongs to whoever wrote it last.
    fn apply(&mut self, path: &str, query: &str, wanted: &Value) -> Answer {
        let manager = parameter(query, "fieldManager").expect("who applies says so");
        let force = parameter(query, "force").is_some_and(|force| force == "true");
        let own = (manager, "Apply");
        let before = self.objects.get(path).cloned();
        if before.is_none() && wanted["metadata"]["resourceVersion"].is_string() {
            return status(409, "Conflict", "there is no such version", path);
        }
        let mut object = before.clone().unwrap_or_else(|| created(wanted));
        if let Some(version) = wanted["metadata"]["resourceVersion"].as_str()
            && object["metadata"]["resourceVersion"] != version
        {
            return status(409, "Conflict", "the object has been modified", path);
        }
        let fields = leaves(wanted);
        let managers = self.managers.entry(path.to_owned()).or_default();
        let now = leaves(&object);
        for (field, value) in &fields {
            let others = managers.iter().filter(|(who, _)| **who != own);
            let conflicts = others.filter(|(_, owns)| owns.contains(field)).count() > 0;
            if conflicts && !force && now.get(field).is_some_and(|now| now != value) {
                return status(
                    409,
                    "Conflict",
                    &format!("another manager owns {field}"),
                    path,
                );
            }
        }
        for (field, value) in &fields {
            if now.get(field) != Some(value) {
                for (_, owns) in managers.iter_mut().filter(|(who, _)| **who != own) {
                    owns.remove(field);
                }
            }
            put(&mut object, field, value.clone());
        }
        let owned: BTreeSet<String> = fields.keys().cloned().collect();
        let had = managers
            .insert(own.clone(), owned.clone())
            .unwrap_or_default();
        for field in had.difference(&owned) {
            let others = managers.iter().filter(|(who, _)| **who != own);
            if others.filter(|(_, owns)| owns.contains(field)).count() == 0 {
                take(&mut object, field);
            }
        }
        let is_new = before.is_none();
        Answer(
            if is_new { 201 } else { 200 },
            self.store(path, before, object),
        )
    }

    fn json_patch(&mut self, path: &str, query: &str, operations: &Value) -> Answer {
        let Some(before) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        let mut object = before.clone();
        for operation in operations.as_array().expect("operations") {
            if let Err(why) = patch(&mut object, operation) {
                return status(422, "Invalid", &why, path);
            }
        }
        self.update(path, query, before, object)
    }

    fn merge_patch(&mut self, path: &str, query: &str, change: &Value) -> Answer {
        let Some(before) = self.objects.get(path).cloned() else {
            return missing(path);
        };
        let version = &change["metadata"]["resourceVersion"];
        if version.is_string() && *version != before["metadata"]["resourceVersion"] {
            return status(409, "Conflict", "the object has been modified", path);
        }
        let mut object = before.clone();
        merge(&mut object, change);
        self.update(path, query, before, object)
    }

    /// What somebody changes by an update becomes theirs.
    fn update(&mut self, path: &str, query: &str, before: Value, object: Value) -> Answer {
        let manager = parameter(query, "fieldManager").unwrap_or_else(|| "unknown".to_owned());
        let (was, is) = (leaves(&before), leaves(&object));
        let changed = is
            .iter()
            .filter(|(field, value)| was.get(*field) != Some(*value));
        let changed: BTreeSet<String> = changed.map(|(field, _)| field.clone()).collect();
        let managers = self.managers.entry(path.to_owned()).or_default();
        for owns in managers.values_mut() {
            owns.retain(|field| !changed.contains(field) && is.contains_key(field));
        }
        managers
            .entry((manager, "Update"))
            .or_default()
            .extend(changed);
        Answer(200, self.store(path, Some(before), object))
    }

    /// An object that is what it was keeps its version.
    fn store(&mut self, path: &str, before: Option<Value>, mut object: Value) -> Value {
        let Some(before) = before else {
            object["metadata"]["generation"] = json!(1);
            self.stamp(&mut object);
            self.objects.insert(path.to_owned(), object.clone());
            return object;
        };
        object["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"].clone();
        if object == before {
            return before;
        }
        if object["spec"] != before["spec"] {
            let generation = before["metadata"]["generation"].as_i64().unwrap_or(1);
            object["metadata"]["generation"] = json!(generation + 1);
        }
        self.stamp(&mut object);
        self.objects.insert(path.to_owned(), object.clone());
        object
    }
}

fn created(wanted: &Value) -> Value {
    json!({
        "apiVersion": wanted["apiVersion"], "kind": wanted["kind"],
        "metadata": {
            "name": wanted["metadata"]["name"], "namespace": wanted["metadata"]["namespace"],
            "uid": "11111111-2222-3333-4444-555555555555",
            "creationTimestamp": super::time(super::START_MS),
        },
    })
}

fn parameter(query: &str, name: &str) -> Option<String> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let found = pairs
        .into_iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value);
    found.map(|value| {
        value
            .replace("%2F", "/")
            .replace("%3D", "=")
            .replace("%2C", ",")
    })
}

fn missing(path: &str) -> Answer {
    status(404, "NotFound", "not found", path)
}

fn status(code: u16, reason: &str, message: &str, path: &str) -> Answer {
    let name = path.rsplit('/').next().unwrap_or_default();
    Answer(
        code,
        json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": message, "reason": reason, "code": code, "details": {"name": name},
        }),
    )
}

impl Service<Request<Body>> for FakeApi {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let (parts, body) = request.into_parts();
        let body = block_on(body.collect_bytes()).expect("a body in memory");
        let kind = parts
            .headers
            .get("content-type")
            .map(|kind| kind.to_str().unwrap().to_owned());
        let query = parts.uri.query().unwrap_or_default();
        let Answer(code, value) = self.answer(
            parts.method.as_str(),
            parts.uri.path(),
            query,
            kind.as_deref().unwrap_or_default(),
            &body,
        );
        // What it does not know it says as plain text.
        let bytes = match value {
            Value::Null => b"404 page not found\n".to_vec(),
            value => value.to_string().into_bytes(),
        };
        let response = Response::builder().status(code).body(Body::from(bytes));
        ready(Ok(response.expect("a response")))
    }
}
