//! A proxy before the emulator that writes down what is asked of it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

const METHODS: [&[u8]; 5] = [b"GET ", b"PUT ", b"POST ", b"HEAD ", b"DELETE "];
/// Without a request for so long, a cycle is over.
const REST: Duration = Duration::from_secs(2);
const END: &[u8] = b" HTTP/1.1\r\n";
const TARGET: &[u8] = b"x-amz-target: ";

/// Passes everything on, and remembers requests.
pub(crate) struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Listens on a port of its own for the lifetime of the test.
    pub(crate) fn start(to: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let asked = Arc::new(Mutex::default());
        let log = asked.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let log: Arc<Mutex<Vec<String>>> = log.clone();
                std::thread::spawn(move || pass(client, to, &log));
            }
        });
        Self { port, asked }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Requests since the last call, when no more come: method and path, of SQS the action.
    pub(crate) fn quiet(&self) -> Vec<String> {
        let asked = || self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let before = asked().len();
            std::thread::sleep(REST);
            let mut asked = asked();
            if asked.len() == before {
                return std::mem::take(&mut asked);
            }
        }
    }
}

fn pass(mut client: TcpStream, to: u16, log: &Mutex<Vec<String>>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", to)) else {
        return;
    };
    let (Ok(mut from_server), Ok(mut to_client)) = (server.try_clone(), client.try_clone()) else {
        return;
    };
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut from_server, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let mut buffer = vec![0; 1 << 16];
    // A head may come in pieces: what is not passed over yet is kept.
    let mut kept: Vec<u8> = vec![];
    while let Ok(read) = client.read(&mut buffer) {
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else {
            break;
        };
        kept.extend_from_slice(bytes);
        let requests = heads(&mut kept);
        log.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(requests);
        if server.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = server.shutdown(Shutdown::Both);
}

/// Takes the whole heads of requests out of what was read.
fn heads(kept: &mut Vec<u8>) -> Vec<String> {
    let mut found = vec![];
    while let Some(line) = position(kept, END) {
        let Some(head) = position(kept.get(line..).unwrap_or_default(), b"\r\n\r\n") else {
            break;
        };
        let start = METHODS
            .iter()
            .filter_map(|method| last_position(kept.get(..line)?, method))
            .max();
        let (end, head_end) = (line, line + head);
        if let Some(request) = start.and_then(|start| kept.get(start..end)) {
            let lower = kept
                .get(end..head_end)
                .unwrap_or_default()
                .to_ascii_lowercase();
            let target = position(&lower, TARGET).and_then(|at| {
                let value = kept.get(end + at + TARGET.len()..head_end)?;
                value.split(|byte| *byte == b'\r').next()
            });
            let request = String::from_utf8_lossy(request).into_owned();
            found.push(match target {
                Some(target) => String::from_utf8_lossy(target).into_owned(),
                None => request,
            });
        }
        kept.drain(..head_end);
    }
    // Bodies are of no interest; a head may have begun in the last bytes.
    let keep = kept.len().saturating_sub(1 << 14);
    kept.drain(..keep);
    found
}

fn position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn last_position(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).rposition(|window| window == what)
}
