//! A dashboard of Ray whose answers are those that a real one was seen to give.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value, json};
use tiny_http::{Response, Server};

pub(crate) const TOKEN: &str = "a-token";

pub(crate) struct FakeRay {
    server: Arc<Server>,
    thread: Option<JoinHandle<()>>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) jobs: BTreeMap<String, Value>,
    pub(crate) requests: Vec<String>,
    pub(crate) version: String,
    pub(crate) most_gpus: f64,
}

impl FakeRay {
    pub(crate) fn start(version: &str) -> Self {
        let server = Arc::new(Server::http("127.0.0.1:0").expect("a port"));
        let state = Arc::new(Mutex::new(State {
            version: version.to_owned(),
            most_gpus: 1.0,
            ..State::default()
        }));
        let (listening, shared) = (server.clone(), state.clone());
        let thread = std::thread::spawn(move || {
            for mut request in listening.incoming_requests() {
                let token = request
                    .headers()
                    .iter()
                    .find(|header| header.field.equiv("X-Ray-Authorization"));
                let token = token.map(|header| header.value.as_str().to_owned());
                let mut body = String::new();
                request
                    .as_reader()
                    .read_to_string(&mut body)
                    .expect("a body");
                let body: Value = serde_json::from_str(&body).unwrap_or(Value::Null);
                let asked = format!("{} {}", request.method(), request.url());
                let (code, answer) = match token.as_deref() {
                    None => (401, json!("Unauthorized: Missing authentication token")),
                    Some(given) if given != format!("Bearer {TOKEN}") => {
                        (403, json!("Forbidden: Invalid authentication token"))
                    }
                    Some(_) => shared.lock().unwrap().answer(&asked, &body),
                };
                request
                    .respond(Response::from_string(answer.to_string()).with_status_code(code))
                    .expect("answers");
            }
        });
        Self {
            server,
            thread: Some(thread),
            state,
        }
    }

    pub(crate) fn address(&self) -> String {
        format!(
            "http://{}",
            self.server.server_addr().to_ip().expect("an address")
        )
    }

    pub(crate) fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    /// Requests that change something.
    pub(crate) fn writes(&self) -> Vec<String> {
        self.with(|state| {
            state
                .requests
                .iter()
                .filter(|asked| !asked.starts_with("GET"))
                .cloned()
                .collect()
        })
    }
}

impl State {
    fn answer(&mut self, asked: &str, body: &Value) -> (u16, Value) {
        self.requests.push(asked.to_owned());
        let (method, path) = asked.split_once(' ').expect("a method");
        match (method, path.trim_start_matches("/api/")) {
            ("GET", "version") => (
                200,
                json!({"version": "4", "ray_version": self.version, "ray_commit": "x", "session_name": "s"}),
            ),
            ("GET", "jobs/") => (200, json!(self.jobs.values().collect::<Vec<_>>())),
            ("GET", path) if path.starts_with("v0/nodes") => (
                200,
                json!({"result": true, "data": {"result": {"result": [
                    {"node_id": "a", "resources_total": {"CPU": 2.0}},
                    {"node_id": "b", "resources_total": {"CPU": 2.0, "GPU": self.most_gpus}},
                ]}}}),
            ),
            ("POST", "jobs/") => {
                let id = body["submission_id"].as_str().expect("an id").to_owned();
                if self.jobs.contains_key(&id) {
                    return (
                        500,
                        json!(format!(
                            "Traceback…\nValueError: Job with submission_id {id} already exists"
                        )),
                    );
                }
                let job = json!({
                    "type": "SUBMISSION", "submission_id": id, "status": "RUNNING", "message": null,
                    "entrypoint": body["entrypoint"], "metadata": body["metadata"], "runtime_env": body["runtime_env"],
                });
                self.jobs.insert(id.clone(), job);
                (200, json!({"job_id": id, "submission_id": id}))
            }
            (method, path) => {
                let mut parts = path.trim_start_matches("jobs/").split('/');
                let id = parts.next().unwrap_or_default().to_owned();
                let Some(job) = self.jobs.get_mut(&id) else {
                    return (404, json!(format!("Job {id} does not exist")));
                };
                match (method, parts.next()) {
                    ("GET", None) => (200, job.clone()),
                    ("POST", Some("stop")) => {
                        job["status"] = json!("STOPPED");
                        (200, json!({"stopped": true}))
                    }
                    ("DELETE", None) if job["status"] == "RUNNING" => (500, json!("it is running")),
                    ("DELETE", None) => {
                        self.jobs.remove(&id);
                        (200, json!({"deleted": true}))
                    }
                    other => panic!("no such request: {other:?}"),
                }
            }
        }
    }
}

impl Drop for FakeRay {
    fn drop(&mut self) {
        self.server.unblock();
        self.thread.take().map(JoinHandle::join);
    }
}
