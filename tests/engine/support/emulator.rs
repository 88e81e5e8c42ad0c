//! An emulator of AWS, started for a test and gone with it.

use std::collections::{BTreeSet, HashMap};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::program::skip;
use super::serving::now;

/// Longest wait until it answers.
const PATIENCE: Duration = Duration::from_secs(60);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
const STARTS: u32 = 3;
/// Its one bucket.
pub(crate) const BUCKET: &str = "tables";

/// An object store that speaks S3, with one bucket.
pub(crate) struct Emulator {
    pub(crate) child: Child,
    pub(crate) port: u16,
    /// For what it leaves when it is killed.
    _folder: TempDir,
}

impl Emulator {
    /// Starts one; without it the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let found = (0..STARTS).find_map(|_| Self::on_a_free_port());
        if found.is_none() {
            skip("tables on s3://: scripts/emulator does not run here; try its --install");
        }
        found
    }

    /// None where it ends at once: also since another process took the port meanwhile.
    fn on_a_free_port() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/emulator");
        let probe = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = probe.local_addr().expect("an address").port();
        drop(probe);
        let folder = tempfile::tempdir().expect("a temporary folder");
        let child = Command::new(script)
            .arg(port.to_string())
            .env("TMPDIR", folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the script starts");
        let mut emulator = Self {
            child,
            port,
            _folder: folder,
        };
        let started = now();
        // Who answers while our own has ended is the emulator of another test.
        loop {
            let answered = emulator.ask("PUT", &format!("/{BUCKET}"), "").is_some();
            if emulator.child.try_wait().expect("a child").is_some() {
                return None;
            }
            if answered {
                break;
            }
            assert!(started.elapsed() < PATIENCE, "the emulator does not answer");
            std::thread::sleep(LOOK_AGAIN);
        }
        Some(emulator)
    }

    pub(crate) fn uri(&self, name: &str) -> String {
        format!("s3://{BUCKET}/{name}")
    }

    /// What a client has to know.
    pub(crate) fn options(&self) -> HashMap<String, String> {
        let endpoint = self.endpoint();
        [
            ("aws_endpoint", endpoint.as_str()),
            ("allow_http", "true"),
            ("aws_access_key_id", "test"),
            ("aws_secret_access_key", "test"),
            ("aws_region", "us-east-1"),
        ]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Keys of the objects below a prefix.
    pub(crate) fn keys(&self, prefix: &str) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        loop {
            let after = found.last().cloned().unwrap_or_default();
            let path = format!("/{BUCKET}?list-type=2&prefix={prefix}&start-after={after}");
            let listed = self.ask("GET", &path, "").expect("a listing");
            let keys = listed.split("<Key>").skip(1);
            found.extend(keys.filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned())));
            if !listed.contains("<IsTruncated>true") {
                return found;
            }
        }
    }

    /// The answer to a request; `None` while nobody listens, or where it is refused.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
        );
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // It keeps all in memory, which nobody needs any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
