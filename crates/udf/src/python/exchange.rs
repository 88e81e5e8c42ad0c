//! One call on the pipes of a host: the request, and the parts of its answer.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use lance_backfill_core::calls::{End, RowError};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::io::BufReader;
use tokio::process::{ChildStdin, ChildStdout};

use super::frame::{self, Reply, Request};
use super::watch::{Verdict, now};

/// Bytes that are read at once.
const BUFFER_BYTES: usize = 16 << 10;
/// Bytes of a call of a few rows.
const SMALL: usize = 4 << 10;
/// A function that takes less of such a call's time is done before a sleeping core is awake.
const QUICK_US: u64 = 100;
/// How long the answer of such a call is awaited without sleeping.
const LINGER: Duration = Duration::from_micros(100);

/// How an exchange ended.
pub(super) enum Ended {
    Answered(End),
    /// The host answered, and ends: it can use its device no more.
    Lost(RowError),
    /// The pipe broke, perhaps with a reason of ours.
    Broken(Option<String>),
    Exceeded(Verdict),
}

#[derive(Default)]
pub(super) struct Found {
    pub(super) values: Vec<ArrayRef>,
    pub(super) failed: Vec<(usize, RowError)>,
    pub(super) rows: usize,
    pub(super) busy_us: u64,
}

impl Found {
    fn part(
        &mut self,
        rows: usize,
        failed: Vec<frame::FailedRow>,
        body: Buffer,
        output: &DataType,
    ) -> Result<(), String> {
        let values = frame::decode(body).map_err(|error| error.to_string())?;
        if values.len() != rows {
            return Err(format!(
                "a part has {} values for {rows} rows",
                values.len()
            ));
        }
        self.values.push(frame::as_column(values, output));
        for frame::FailedRow { row, error } in failed {
            self.failed.push((row, error.into_row_error()));
        }
        self.rows += rows;
        Ok(())
    }
}

/// The worker's ends of a host's pipes.
pub(super) struct Pipes {
    to: ChildStdin,
    from: BufReader<ChildStdout>,
    /// Whether the function was so quick in the last call that it may be in the next one, too.
    quick: bool,
}

impl Pipes {
    pub(super) fn new(to: ChildStdin, from: ChildStdout) -> Self {
        Self {
            to,
            // The answer to a small call is one read; the rest of a large body is read past the buffer.
            from: BufReader::with_capacity(BUFFER_BYTES, from),
            quick: false,
        }
    }

    /// Starts the conversation.
    pub(super) async fn greet(
        &mut self,
        header: &Request<'_>,
        body: &[u8],
    ) -> io::Result<Option<(Reply, Buffer)>> {
        frame::write(&mut self.to, header, body).await?;
        frame::read(&mut self.from).await
    }

    /// Makes a call.
    pub(super) async fn exchange(
        &mut self,
        header: &Request<'_>,
        body: &[u8],
        call: u64,
        output: &DataType,
        found: &mut Found,
    ) -> Ended {
        if frame::write(&mut self.to, header, body).await.is_err() {
            return Ended::Broken(None);
        }
        if self.quick && body.len() <= SMALL {
            linger(&self.from);
        }
        loop {
            let (reply, body) = match frame::read(&mut self.from).await {
                Ok(Some(frame)) => frame,
                Ok(None) => return Ended::Broken(None),
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => {
                    return Ended::Broken(None);
                }
                Err(error) => return Ended::Broken(Some(error.to_string())),
            };
            match reply {
                Reply::Part {
                    id,
                    rows,
                    failed,
                    busy_us,
                } if id == call => {
                    found.busy_us += busy_us;
                    if let Err(what) = found.part(rows, failed, body, output) {
                        return Ended::Broken(Some(what));
                    }
                }
                Reply::Done { id } if id == call => {
                    self.quick = found.busy_us < QUICK_US;
                    return Ended::Answered(End::Complete);
                }
                Reply::Raised { id, error } if id == call && error.device_lost => {
                    return Ended::Lost(error.into_row_error());
                }
                Reply::Raised { id, error } if id == call => {
                    return Ended::Answered(End::Raised(error.into_row_error()));
                }
                _ => return Ended::Broken(Some("it answered what was not asked".to_owned())),
            }
        }
    }
}

/// Looks for an answer for a moment without going to sleep: to wake a core that sleeps takes longer
/// than a short call, in virtual machines above all.
fn linger(from: &BufReader<ChildStdout>) {
    let until = now() + LINGER;
    let pipe = from.get_ref().as_fd();
    while matches!(
        poll(
            &mut [PollFd::new(pipe, PollFlags::POLLIN)],
            PollTimeout::ZERO
        ),
        Ok(0)
    ) && now() < until
    {
        // The host may need this core.
        std::thread::yield_now();
    }
}
