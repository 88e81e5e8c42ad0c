//! Running a process and measuring it from outside.

use std::fs;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// How often the peak memory is looked at: growth in the last interval of a process is missed.
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// What a process did.
#[derive(Debug)]
pub(crate) struct Ran {
    /// From before the start until the process is gone.
    pub(crate) seconds: f64,
    /// Time on processors, of all its threads, where the system tells.
    pub(crate) processor_seconds: Option<f64>,
    /// Most memory that it held, where the system tells.
    pub(crate) peak_bytes: Option<u64>,
    /// Bytes handed to the system for writing, its output left out.
    pub(crate) written_bytes: Option<u64>,
    pub(crate) stdout: String,
}

impl Ran {
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout)
            .with_context(|| format!("not a JSON document: {}", self.stdout))
    }

    /// A number of the document on stdout.
    pub(crate) fn number(&self, pointer: &str) -> Result<f64> {
        (self.json()?.pointer(pointer).and_then(Value::as_f64))
            .with_context(|| format!("no number at {pointer}: {}", self.stdout))
    }
}

/// The one clock of the benchmark.
#[expect(
    clippy::disallowed_methods,
    reason = "measuring time is what a benchmark does"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Runs a process to its end; anything but exit code 0 is an error.
pub(crate) fn run(command: &mut Command) -> Result<Ran> {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let started = now();
    let mut child = command
        .spawn()
        .with_context(|| format!("cannot start {command:?}"))?;
    let id = child.id();
    let mut out = child.stdout.take().context("stdout is piped")?;
    let mut err = child.stderr.take().context("stderr is piped")?;
    let ended = AtomicBool::new(false);
    let (stdout, stderr, peak_bytes) = thread::scope(|scope| {
        let peak = scope.spawn(|| watch_memory(id, &ended));
        let errors = scope.spawn(move || {
            let mut text = String::new();
            err.read_to_string(&mut text).map(|_| text)
        });
        let mut text = String::new();
        let read = out.read_to_string(&mut text);
        ended.store(true, Ordering::Relaxed);
        (read.map(|_| text), errors.join(), peak.join())
    });
    wait_until_gone(&mut child)?;
    let seconds = started.elapsed().as_secs_f64();
    let written_bytes = counter(id, "io", "wchar:");
    let processor_seconds = processor_seconds(id);
    let status = child.wait()?;
    let (stdout, stderr) = (stdout?, stderr.unwrap_or_else(|_| Ok(String::new()))?);
    if !status.success() {
        bail!("{command:?} ended with {status}: {}", stderr.trim());
    }
    let printed = (stdout.len() + stderr.len()) as u64;
    Ok(Ran {
        seconds,
        processor_seconds,
        peak_bytes: peak_bytes.ok().flatten(),
        written_bytes: written_bytes.map(|bytes| bytes.saturating_sub(printed)),
        stdout,
    })
}

/// Until the process has ended but is not yet reaped: its counters are still there.
fn wait_until_gone(child: &mut Child) -> Result<()> {
    loop {
        let Ok(stat) = fs::read_to_string(format!("/proc/{}/stat", child.id())) else {
            child.wait()?;
            return Ok(());
        };
        // The state follows the command's name in parentheses.
        let state = stat
            .rsplit(") ")
            .next()
            .and_then(|rest| rest.chars().next());
        if matches!(state, None | Some('Z' | 'X')) {
            return Ok(());
        }
        thread::sleep(Duration::from_micros(200));
    }
}

fn processor_seconds(id: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    // After the name in parentheses come the state and, twelfth and thirteenth, the ticks spent in
    // the program and in the kernel; Linux counts a hundred a second.
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / 100.0)
}

fn watch_memory(id: u32, ended: &AtomicBool) -> Option<u64> {
    let mut peak = None;
    while !ended.load(Ordering::Relaxed) {
        peak = peak.max(counter(id, "status", "VmHWM:").map(|kib| kib * 1024));
        thread::sleep(LOOK_EVERY);
    }
    peak
}

/// A number that the system keeps of a process.
fn counter(id: u32, file: &str, name: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/{file}")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_measured_from_outside() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("written");
        let script = format!(
            "head -c 300000 /dev/zero > '{}'; echo '{{\"n\": 3}}'",
            file.display()
        );
        let ran = run(Command::new("sh").args(["-c", &script])).expect("runs");
        assert_eq!(ran.number("/n").expect("a number"), 3.0);
        assert!(ran.seconds > 0.0);
        if cfg!(target_os = "linux") {
            assert!(ran.written_bytes.expect("counted") >= 300_000, "{ran:?}");
            assert!(ran.processor_seconds.expect("counted") < 5.0, "{ran:?}");
        }
    }

    #[test]
    fn a_failed_process_is_an_error_with_its_message() {
        let failed = run(Command::new("sh").args(["-c", "echo reason >&2; exit 3"]));
        let message = failed.expect_err("fails").to_string();
        assert!(message.contains("reason"), "{message}");
    }
}
