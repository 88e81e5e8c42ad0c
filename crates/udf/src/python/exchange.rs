//! One call on the pipes of a host: the request, and the parts of its answer.

use arrow_array::ArrayRef;
use arrow_buffer::Buffer;
use arrow_schema::DataType;
use lance_backfill_core::calls::{End, RowError};
use tokio::io::{AsyncRead, AsyncWrite};

use super::frame::{self, Reply, Request};
use super::watch::Verdict;

/// How an exchange ended.
pub(super) enum Ended {
    Answered(End),
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

pub(super) async fn exchange(
    to: &mut (impl AsyncWrite + Unpin),
    from: &mut (impl AsyncRead + Unpin),
    header: &Request<'_>,
    body: &[u8],
    call: u64,
    output: &DataType,
    found: &mut Found,
) -> Ended {
    if frame::write(to, header, body).await.is_err() {
        return Ended::Broken(None);
    }
    loop {
        let (reply, body) = match frame::read(from).await {
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
            Reply::Done { id } if id == call => return Ended::Answered(End::Complete),
            Reply::Raised { id, error } if id == call => {
                return Ended::Answered(End::Raised(error.into_row_error()));
            }
            _ => return Ended::Broken(Some("it answered what was not asked".to_owned())),
        }
    }
}
