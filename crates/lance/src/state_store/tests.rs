//! What creating an object does where S3 answers 409, or its answer is lost.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use lance_backfill_ports::ErrorKind;

use super::*;

/// What goes wrong with one attempt to create an object.
#[derive(Clone, Copy)]
enum Wrong {
    /// Another request about the key is under way, and nothing is written.
    Conflict,
    /// The connection breaks before anything is written.
    Lost,
    /// It breaks after that.
    AnswerLost,
    /// An error is answered although the object is written.
    WrittenAllTheSame,
}

#[derive(Default)]
struct Bucket {
    objects: BTreeMap<String, Vec<u8>>,
    wrong: VecDeque<Wrong>,
    puts: usize,
}

/// As much of S3 as a state store needs, on a port of its own.
struct FakeS3 {
    port: u16,
    bucket: Arc<Mutex<Bucket>>,
}

impl FakeS3 {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let bucket: Arc<Mutex<Bucket>> = Arc::default();
        let shared = bucket.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let shared = shared.clone();
                std::thread::spawn(move || serve(client, &shared));
            }
        });
        Self { port, bucket }
    }

    fn bucket(&self) -> std::sync::MutexGuard<'_, Bucket> {
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn store(&self) -> ObjectStateStore {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let options = [
            ("aws_endpoint", endpoint.as_str()),
            ("allow_http", "true"),
            ("aws_access_key_id", "test"),
            ("aws_secret_access_key", "test"),
            ("aws_region", "us-east-1"),
        ];
        let options = OpenOptions {
            storage_options: options
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
            branch: None,
        };
        let store = ObjectStateStore::open("s3://bucket/prefix", &options).await;
        store.expect("it can be reached")
    }
}

fn serve(client: TcpStream, bucket: &Mutex<Bucket>) {
    let mut reader = BufReader::new(client);
    loop {
        let mut head = vec![];
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(read) if read > 0 => {}
                _ => return,
            }
            if line.trim().is_empty() {
                break;
            }
            head.push(line.trim().to_owned());
        }
        let header = |name: &str| {
            let pairs = head.iter().filter_map(|line| line.split_once(": "));
            let mut found = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name));
            found.next().map(|(_, value)| value.to_owned())
        };
        let length = header("content-length").and_then(|text| text.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let mut words = head.first().map(|line| line.split(' ')).expect("a request");
        let (method, path) = (
            words.next().expect("a method"),
            words.next().expect("a path"),
        );
        let is_create = header("if-none-match").is_some();
        let answer = {
            let mut bucket = bucket.lock().unwrap_or_else(PoisonError::into_inner);
            answer(&mut bucket, method, path, body, is_create)
        };
        let Some((status, body)) = answer else {
            return;
        };
        let length = body.len();
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nETag: \"1\"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n\r\n"
        );
        let client = reader.get_mut();
        if client
            .write_all(&[head.as_bytes(), &body].concat())
            .is_err()
        {
            return;
        }
    }
}

/// Status and body; nothing breaks the connection.
fn answer(
    bucket: &mut Bucket,
    method: &str,
    path: &str,
    body: Vec<u8>,
    is_create: bool,
) -> Option<(&'static str, Vec<u8>)> {
    let key = path.to_owned();
    if method != "PUT" {
        return Some(match bucket.objects.get(&key) {
            Some(found) => ("200 OK", found.clone()),
            None => (
                "404 Not Found",
                b"<Error><Code>NoSuchKey</Code></Error>".to_vec(),
            ),
        });
    }
    assert!(is_create, "a write that could overwrite");
    bucket.puts += 1;
    let wrong = bucket.wrong.pop_front();
    match wrong {
        Some(Wrong::Conflict) => {
            let body = b"<Error><Code>ConditionalRequestConflict</Code></Error>";
            return Some(("409 Conflict", body.to_vec()));
        }
        Some(Wrong::Lost) => return None,
        Some(Wrong::AnswerLost | Wrong::WrittenAllTheSame) | None => {}
    }
    if bucket.objects.contains_key(&key) {
        let body = b"<Error><Code>PreconditionFailed</Code></Error>";
        return Some(("412 Precondition Failed", body.to_vec()));
    }
    bucket.objects.insert(key, body);
    match wrong {
        Some(Wrong::AnswerLost) => None,
        Some(Wrong::WrittenAllTheSame) => Some(("500 Internal Server Error", vec![])),
        _ => Some(("200 OK", vec![])),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_to_be_there_is_there() {
    use Wrong::{AnswerLost, Conflict, Lost, WrittenAllTheSame};
    let s3 = FakeS3::start();
    let store = s3.store().await;
    let cases: [(&[Wrong], Created); 7] = [
        (&[], Created::New),
        (&[Conflict], Created::New),
        (&[Lost], Created::New),
        (&[Conflict, Lost, Conflict], Created::New),
        // Our own, which only its bytes tell.
        (&[AnswerLost], Created::AlreadyThere),
        (&[WrittenAllTheSame], Created::AlreadyThere),
        (&[Conflict, AnswerLost, Conflict], Created::AlreadyThere),
    ];
    for (place, (wrong, expected)) in cases.into_iter().enumerate() {
        s3.bucket().wrong = wrong.iter().copied().collect();
        let path = format!("values/{place}");
        let ours = Bytes::from(format!("ours {place}"));
        let created = store.create(&path, ours.clone()).await.expect("an answer");
        assert_eq!(created, expected, "case {place}");
        assert!(s3.bucket().wrong.is_empty(), "case {place}");
        assert_eq!(store.get(&path).await.expect("reads"), Some(ours.clone()));
        let again = store.create(&path, Bytes::from_static(b"others'")).await;
        assert_eq!(again.expect("an answer"), Created::AlreadyThere);
        assert_eq!(store.get(&path).await.expect("reads"), Some(ours));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stays_unknown_is_an_error() {
    let s3 = FakeS3::start();
    let store = s3.store().await;
    s3.bucket().wrong = std::iter::repeat_n(Wrong::Conflict, MOST_ATTEMPTS as usize).collect();
    let created = store.create("ledger/1", Bytes::from_static(b"ours")).await;
    let error = created.expect_err("nobody knows");
    assert_eq!(error.kind, ErrorKind::Unavailable, "{error:?}");
    assert_eq!(s3.bucket().puts, MOST_ATTEMPTS as usize);
    assert_eq!(store.get("ledger/1").await.expect("reads"), None);
}
