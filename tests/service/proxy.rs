//! A proxy before the emulator: it writes down what functions ask for, and does harm where it is told.

use std::collections::BTreeMap;
use std::io::{BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lance_backfill_core::checkpoint::CheckpointManifest;
use lance_backfill_core::format::decode;

use super::processes::{self, Process};
use crate::support::serving::now;

mod http;

use http::Message;

/// Without a request for so long, a cycle is over.
const REST: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
/// Looks for a process before it is taken for gone.
const LOOKS: u32 = 5;

/// A request as rules see it.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Method and path; of SQS the action.
    pub(crate) what: String,
    /// What kind of object or queue it is about: the same for all batches, versions and tables.
    pub(crate) class: String,
    /// Whether it writes on condition.
    pub(crate) is_conditional: bool,
    pub(crate) body: Vec<u8>,
}

impl Request {
    fn of(message: &Message) -> Self {
        let (method, path) = message.request_line();
        let action = message.header("x-amz-target").map(str::to_owned);
        let class = match &action {
            Some(action) => action.clone(),
            None => format!("{method} {}", class_of(path)),
        };
        Self {
            what: action.unwrap_or_else(|| format!("{method} {path}")),
            class,
            is_conditional: message.header("if-none-match").is_some()
                || message.header("if-match").is_some(),
            body: message.body().to_vec(),
        }
    }

    /// Whether it writes an object below a folder of this name.
    pub(crate) fn writes(&self, folder: &str) -> bool {
        self.what.starts_with("PUT ") && self.what.contains(&format!("/{folder}/"))
    }

    pub(crate) fn is_of_sqs(&self) -> bool {
        self.what.starts_with("AmazonSQS.")
    }
}

/// Folders that tell what an object is.
const KINDS: [&str; 10] = [
    "ledger",
    "sent",
    "checkpoints",
    "values",
    "coverage",
    "snapshot",
    "pauses",
    "_versions",
    "_transactions",
    "data",
];

/// The folder that tells what an object is, or what is listed.
fn class_of(path: &str) -> String {
    let path = path.split('?').next().unwrap_or_default();
    let found = KINDS
        .iter()
        .find(|kind| path.contains(&format!("/{kind}/")));
    (*found.unwrap_or(&"other")).to_owned()
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is refused, and not passed on.
    Refused(Refusal),
    /// The connection ends, and nothing is passed on.
    CutBefore,
    /// It is passed on, and the connection ends instead of an answer.
    AnswerLost,
    /// Whoever asks is killed, and nothing is passed on.
    KillBefore,
    /// It is passed on, and whoever asked is killed before the answer.
    KillAfter,
    /// It is passed on, and whoever asked stands still from then on.
    Freeze,
}

/// Answers that say no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// 503.
    SlowDown,
    /// 500.
    Internal,
    /// 409 of S3: somebody else writes the same object.
    Conflict,
    /// 403.
    Forbidden,
}

/// Decides about a request; it may wait before it does.
pub(crate) type Rule = dyn Fn(&Request) -> Option<Fault> + Send + Sync;

/// A message that was sent to a queue.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    pub(crate) queue: String,
    pub(crate) body: String,
}

#[derive(Default)]
struct Seen {
    asked: Vec<String>,
    sent: Vec<Sent>,
    /// Checkpoint manifests by path: how often a process wrote one, and what the store took.
    checkpoints: BTreeMap<String, (usize, Option<CheckpointManifest>)>,
}

struct State {
    to: u16,
    seen: Mutex<Seen>,
    rule: Mutex<Option<Arc<Rule>>>,
    struck: Mutex<Vec<Process>>,
}

impl State {
    /// Does something to the process at the other end of a connection.
    fn strike(&self, (client, ours): (u16, u16), harm: fn(Process)) {
        // What the system lists of connections is no snapshot: one may be missing.
        let find = || processes::of_client(client, ours);
        if let Some(process) = (0..LOOKS).find_map(|_| find()) {
            harm(process);
            let struck = self.struck.lock();
            struck.unwrap_or_else(PoisonError::into_inner).push(process);
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes requests on, and remembers them.
pub(crate) struct Proxy {
    port: u16,
    state: Arc<State>,
}

impl Proxy {
    /// Listens on a port of its own for the lifetime of the test.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let state = Arc::new(State {
            to,
            seen: Mutex::default(),
            rule: Mutex::new(None),
            struck: Mutex::default(),
        });
        let shared = state.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(client, &state));
            }
        });
        Self { port, state }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) const fn port(&self) -> u16 {
        self.port
    }

    /// From now on this decides about each request.
    pub(crate) fn rule(&self, rule: impl Fn(&Request) -> Option<Fault> + Send + Sync + 'static) {
        *self.lock_rule() = Some(Arc::new(rule));
    }

    /// Everything is passed on again.
    pub(crate) fn no_rule(&self) {
        *self.lock_rule() = None;
    }

    fn lock_rule(&self) -> MutexGuard<'_, Option<Arc<Rule>>> {
        let rule = &self.state.rule;
        rule.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Requests since the last call, when no more come: method and path, of SQS the action.
    pub(crate) fn quiet(&self) -> Vec<String> {
        let started = now();
        loop {
            assert!(started.elapsed() < PATIENCE, "requests do not end");
            let before = self.state.seen().asked.len();
            std::thread::sleep(REST);
            let mut seen = self.state.seen();
            if seen.asked.len() == before {
                return std::mem::take(&mut seen.asked);
            }
        }
    }

    /// Messages that functions sent until now.
    pub(crate) fn sent(&self) -> Vec<Sent> {
        self.state.seen().sent.clone()
    }

    /// Checkpoint manifests that the store took until now.
    pub(crate) fn checkpoints(&self) -> Vec<CheckpointManifest> {
        let seen = self.state.seen();
        let taken = seen.checkpoints.values();
        taken.filter_map(|(_, taken)| taken.clone()).collect()
    }

    /// Rows that the function was called for, as these tell.
    pub(crate) fn rows_computed(&self) -> u64 {
        (self.checkpoints().iter())
            .filter(|manifest| manifest.calls > 0)
            .map(|manifest| manifest.rows_computed() + manifest.rows_failed())
            .sum()
    }

    /// Processes that were killed or stopped.
    pub(crate) fn struck(&self) -> Vec<Process> {
        let struck = self.state.struck.lock();
        struck.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Batches whose results were written more than once: they were done more than once.
    pub(crate) fn repeated(&self) -> Vec<String> {
        let seen = self.state.seen();
        let repeated = seen.checkpoints.iter();
        repeated
            .filter(|(_, (written, _))| *written > 1)
            .map(|(path, _)| path.clone())
            .collect()
    }
}

/// Serves one connection of a client.
fn serve(client: TcpStream, state: &State) -> Option<()> {
    client.set_nodelay(true).ok()?;
    let ends = (
        client.peer_addr().ok()?.port(),
        client.local_addr().ok()?.port(),
    );
    let mut answers = client.try_clone().ok()?;
    let mut requests = BufReader::new(client);
    let mut server: Option<BufReader<TcpStream>> = None;
    loop {
        let message = Message::read(&mut requests, None).ok()??;
        let request = Request::of(&message);
        state.seen().asked.push(request.what.clone());
        let rule = (state.rule.lock().unwrap_or_else(PoisonError::into_inner)).clone();
        let fault = rule.and_then(|rule| rule(&request));
        match fault {
            Some(Fault::Refused(refusal)) => {
                answers
                    .write_all(&refusal.answer(request.is_of_sqs()))
                    .ok()?;
                continue;
            }
            Some(Fault::CutBefore) => return None,
            Some(Fault::KillBefore) => {
                state.strike(ends, processes::kill);
                return None;
            }
            None | Some(Fault::AnswerLost | Fault::KillAfter | Fault::Freeze) => {}
        }
        let open = server.take().filter(|server| is_open(server.get_ref()));
        let mut upstream = match open {
            Some(server) => server,
            None => {
                let server = TcpStream::connect(("127.0.0.1", state.to)).ok()?;
                server.set_nodelay(true).ok()?;
                BufReader::new(server)
            }
        };
        upstream.get_mut().write_all(&message.bytes).ok()?;
        let (method, _) = message.request_line();
        let answer = Message::read(&mut upstream, Some(method)).ok()??;
        note(state, &request, answer.status());
        match fault {
            Some(Fault::AnswerLost) => return None,
            Some(Fault::KillAfter) => {
                state.strike(ends, processes::kill);
                return None;
            }
            Some(Fault::Freeze) => state.strike(ends, processes::freeze),
            _ => {}
        }
        answers.write_all(&answer.bytes).ok()?;
        let closes =
            (answer.header("connection")).is_some_and(|value| value.eq_ignore_ascii_case("close"));
        server = (!closes).then_some(upstream);
    }
}

/// Whether the other end has not closed a connection on which nothing is awaited.
fn is_open(stream: &TcpStream) -> bool {
    let mut byte = [0];
    let waits = stream.set_nonblocking(true).is_ok()
        && matches!(stream.peek(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    waits && stream.set_nonblocking(false).is_ok()
}

/// Remembers what a request did.
fn note(state: &State, request: &Request, status: u16) {
    if request.writes("checkpoints") {
        let manifest =
            (status == 200).then(|| decode(&request.body).expect("a sound checkpoint manifest"));
        let mut seen = state.seen();
        let (written, taken) = seen.checkpoints.entry(request.what.clone()).or_default();
        *written += 1;
        *taken = manifest.or(taken.take());
    }
    if request.what == "AmazonSQS.SendMessageBatch" {
        let asked: serde_json::Value = serde_json::from_slice(&request.body).unwrap_or_default();
        let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
        let entries = asked["Entries"].as_array().cloned().unwrap_or_default();
        let sent = entries.iter().map(|entry| Sent {
            queue: text(&asked["QueueUrl"]).unwrap_or_default(),
            body: text(&entry["MessageBody"]).unwrap_or_default(),
        });
        state.seen().sent.extend(sent);
    }
}

impl Refusal {
    fn answer(self, is_of_sqs: bool) -> Vec<u8> {
        let (status, code) = match (self, is_of_sqs) {
            (Self::SlowDown, false) => (503, "SlowDown"),
            (Self::SlowDown, true) => (400, "RequestThrottled"),
            (Self::Internal, false) => (500, "InternalError"),
            (Self::Internal, true) => (500, "InternalFailure"),
            (Self::Conflict, _) => (409, "ConditionalRequestConflict"),
            (Self::Forbidden, false) => (403, "AccessDenied"),
            (Self::Forbidden, true) => (403, "AccessDeniedException"),
        };
        let body = if is_of_sqs {
            format!(r#"{{"__type":"com.amazonaws.sqs#{code}","message":"refused by the test"}}"#)
        } else {
            format!("<Error><Code>{code}</Code><Message>Refused by the test</Message></Error>")
        };
        let length = body.len();
        format!("HTTP/1.1 {status} Refused\r\nx-amzn-errortype: {code}\r\ncontent-length: {length}\r\n\r\n{body}")
            .into_bytes()
    }
}
