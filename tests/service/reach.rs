//! Functions talk to S3 and SQS, and to nobody else.
//!
//! What they do is told by the system: strace writes down each connection and each datagram. Once they
//! have an endpoint of a test, and must reach nothing but that. Once they have none, as when they are
//! deployed: then they ask for the names of AWS through a proxy that writes them down and refuses.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tempfile::TempDir;

use crate::delivery::is_filled;
use crate::deployment::{Deployment, Settings};
use crate::support::oracle::product;
use crate::support::program::{say, skip};
use crate::support::serving::eventually;
use crate::support::table::Shape;

const FUNCTIONS: [&str; 3] = ["planner", "worker", "committer"];
/// How long functions try what cannot succeed.
const ATTEMPTS: Duration = Duration::from_secs(8);

/// What strace wrote of all processes.
struct Traces(TempDir);

impl Traces {
    fn new() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut call = Command::new("strace");
        let tried = call.args(["-qq", "-e", "trace=connect", "true"]).output();
        if !tried.is_ok_and(|output| output.status.success()) {
            skip("what functions talk to: strace does not run here");
            return None;
        }
        Some(Self(folder))
    }

    /// What stands before a program so that it is traced.
    fn before(&self) -> Vec<String> {
        let path = self.0.path().join("trace").display().to_string();
        let words = [
            "strace",
            "-ff",
            "-qq",
            "-s",
            "512",
            "-e",
            "trace=connect,sendto,sendmsg,sendmmsg",
            "-o",
            &path,
        ];
        words.map(str::to_owned).to_vec()
    }

    /// Lines of all threads of all processes.
    fn lines(&self) -> Vec<String> {
        let files = std::fs::read_dir(self.0.path()).expect("a folder");
        let texts = files
            .flatten()
            .filter_map(|file| std::fs::read(file.path()).ok());
        texts
            .flat_map(|bytes| {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                text.lines().map(str::to_owned).collect::<Vec<_>>()
            })
            .collect()
    }

    /// Addresses with ports to which something was connected or sent, and everything that is no address
    /// of the internet.
    fn peers(&self) -> BTreeSet<String> {
        let address = |line: &str| {
            let (_, rest) = line.split_once("sa_family=")?;
            let family = rest.split([',', '}']).next()?;
            let after = |name: &str| {
                let (_, rest) = rest.split_once(name)?;
                Some(rest.split([')', '"']).next()?.to_owned())
            };
            Some(match (family, after("inet_addr(\""), after("htons(")) {
                ("AF_INET", Some(host), Some(port)) => format!("{host}:{port}"),
                // Undoes a connection; nothing is sent.
                ("AF_UNSPEC", ..) => return None,
                _ => rest.to_owned(),
            })
        };
        self.lines()
            .iter()
            .filter_map(|line| address(line))
            .collect()
    }
}

/// A proxy that connects nobody, and remembers to whom it was to connect.
struct Refusing {
    port: u16,
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Refusing {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked: Arc<Mutex<BTreeSet<String>>> = Arc::default();
        let log = asked.clone();
        std::thread::spawn(move || {
            for mut client in listener.incoming().flatten() {
                let mut line = String::new();
                let reader = client.try_clone().map(BufReader::new);
                if reader.is_ok_and(|mut reader| reader.read_line(&mut line).is_ok()) {
                    let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
                    log.insert(line.trim().to_owned());
                }
                let refused = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
                // Who does not wait for the answer is refused all the same.
                let _ = client.write_all(refused);
            }
        });
        Self { port, asked }
    }

    fn asked(&self) -> BTreeSet<String> {
        self.asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_reach_s3_and_sqs_and_nothing_else() {
    let Some(traces) = Traces::new() else {
        return;
    };
    let settings = Settings {
        visibility_s: 20,
        most_receives: 2,
        timeout_s: 12,
        before: FUNCTIONS.map(|kind| (kind, traces.before())).into(),
        ..Settings::default()
    };
    let Some(service) = Deployment::start(settings) else {
        return;
    };
    let scenario = service.table("near.lance", Shape::default(), 100).await;
    scenario.add("p", "a * b", &[]);
    eventually("'p' is filled", async || is_filled(&scenario).await).await;
    service.schedule().await;
    eventually("all is done", async || service.is_drained().await).await;
    assert_eq!(scenario.check_int("p", product).await, 100);
    // The endpoint, and where Lambda hands out invocations.
    let endpoint = format!("127.0.0.1:{}", service.proxy.port());
    let mut allowed = service.runtime_apis();
    allowed.insert(endpoint.clone());
    let peers = traces.peers();
    assert!(
        peers.len() >= 4,
        "an endpoint and three functions' own: {peers:?}"
    );
    let others: Vec<_> = peers.difference(&allowed).collect();
    assert!(
        others.is_empty(),
        "allowed are {allowed:?}, others: {others:?}"
    );

    // As deployed: no endpoint, and a way to the network that is closed.
    let refusing = Refusing::start();
    let way = format!("http://127.0.0.1:{}", refusing.port);
    let sent = service.proxy.sent();
    for kind in FUNCTIONS {
        service.configure(
            kind,
            &[
                ("AWS_ENDPOINT_URL", None),
                ("AWS_ALLOW_HTTP", None),
                ("HTTP_PROXY", Some(&way)),
                ("HTTPS_PROXY", Some(&way)),
                ("NO_PROXY", Some("127.0.0.1")),
            ],
        );
    }
    service.schedule().await;
    let to = |lane: &str| {
        sent.iter()
            .find(|message| message.queue == service.queue(lane))
    };
    for lane in ["fresh", "commits"] {
        service.send_again(to(lane).expect("it was used")).await;
    }
    let is_told = async || !refusing.asked().is_empty();
    eventually("S3 is asked for", is_told).await;
    eventually("all functions run", async || {
        FUNCTIONS
            .iter()
            .all(|kind| !service.processes(kind).is_empty())
    })
    .await;
    // Whatever else they ask for they ask for now.
    std::thread::sleep(ATTEMPTS);
    let mut allowed = service.runtime_apis();
    allowed.extend([endpoint, format!("127.0.0.1:{}", refusing.port)]);
    let peers = traces.peers();
    let others: Vec<_> = peers.difference(&allowed).collect();
    assert!(
        others.is_empty(),
        "allowed are {allowed:?}, others: {others:?}"
    );
    let asked = refusing.asked();
    let is_ours = |line: &String| {
        let host = line.strip_prefix("CONNECT ").unwrap_or(line);
        host.contains("s3.us-east-1.amazonaws.com:443")
            || host.contains("sqs.us-east-1.amazonaws.com:443")
    };
    assert!(!asked.is_empty(), "S3 was asked for");
    say(&format!("without an endpoint functions ask for {asked:?}"));
    let others: Vec<_> = asked.iter().filter(|line| !is_ours(line)).collect();
    assert!(
        others.is_empty(),
        "S3 and SQS alone may be asked for: {others:?}"
    );
}
