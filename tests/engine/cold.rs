//! A function's start: how long until it asks for its first event, and that it asks nobody else before.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use crate::support::program::{built, say};
use crate::support::serving::now;

/// Longest wait for a start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Starts of each function; the first may find its program on disk.
const STARTS: usize = 5;

/// Ends with the test.
struct Function(Child);

impl Drop for Function {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port, and the first line of each request to it; none is answered.
fn listen() -> (String, Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let (asked, requests) = channel();
    std::thread::spawn(move || {
        // Kept, so that nobody sees an end and asks again.
        let mut clients: Vec<TcpStream> = vec![];
        for mut client in listener.incoming().flatten() {
            let mut head = [0; 4_096];
            let read = client.read(&mut head).unwrap_or(0);
            let head = String::from_utf8_lossy(&head[..read]).into_owned();
            let line = head.lines().next().unwrap_or_default().to_owned();
            if asked.send(line).is_err() {
                return;
            }
            clients.push(client);
        }
    });
    (address, requests)
}

fn start(handler: &str, runtime: &str, aws: &str) -> Function {
    let mut command = Command::new(built("bootstrap"));
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime)
        .env("_HANDLER", handler)
        .env("AWS_LAMBDA_FUNCTION_NAME", handler)
        .env("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "1769")
        .env("AWS_LAMBDA_LOG_GROUP_NAME", handler)
        .env("AWS_LAMBDA_LOG_STREAM_NAME", handler)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "test")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .env("AWS_ENDPOINT_URL", format!("http://{aws}"))
        .env("AWS_ALLOW_HTTP", "true")
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{aws}"))
        .env("LANCE_BACKFILL_SERVICE", "s3://service/prefix")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    for queue in ["PLANS", "FRESH", "BULK", "COMMITS"] {
        let name = format!("LANCE_BACKFILL_{queue}_QUEUE");
        command.env(name, format!("http://{aws}/000000000000/{queue}"));
    }
    Function(command.spawn().expect("the program starts"))
}

#[test]
fn a_function_starts_without_a_request() {
    for handler in ["planner", "worker", "committer"] {
        let mut times = vec![];
        for _ in 0..STARTS {
            let (runtime, invocations) = listen();
            let (aws, requests) = listen();
            let began = now();
            let _function = start(handler, &runtime, &aws);
            let first = invocations.recv_timeout(PATIENCE).expect("it gets ready");
            times.push(began.elapsed());
            assert!(first.contains("/runtime/invocation/next"), "{first}");
            assert_eq!(
                requests.try_iter().collect::<Vec<_>>(),
                Vec::<String>::new()
            );
        }
        times.sort_unstable();
        let told: Vec<_> = times.iter().map(Duration::as_millis).collect();
        say(&format!(
            "{handler}: from its start to its first event {told:?} ms"
        ));
    }
}

#[test]
fn a_function_that_lacks_a_setting_says_which() {
    let (runtime, _) = listen();
    let output = Command::new(built("bootstrap"))
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime)
        .env("_HANDLER", "worker")
        .env("AWS_REGION", "us-east-1")
        .output()
        .expect("the program starts");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success());
    assert!(told.contains("LANCE_BACKFILL_SERVICE is not set"), "{told}");
}
