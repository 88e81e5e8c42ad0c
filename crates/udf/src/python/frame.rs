//! Frames: a JSON header and an Arrow IPC stream, both ways. See `docs/host-protocol.md`.

use std::io;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Schema};
use lance_backfill_core::calls::{Again, RowError};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::described::Described;

const MAGIC: [u8; 4] = *b"LBH1";
/// Headers list failed rows; one of this size is no header.
const LONGEST_HEADER: u32 = 256 << 20;
/// Version of the protocol that this worker speaks.
pub(super) const PROTOCOL: u32 = 1;

/// What the worker says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Request<'a> {
    Start(StartHeader<'a>),
    Call {
        id: u64,
        rows: usize,
        batch: &'a str,
    },
}

/// How a host starts.
#[derive(Serialize)]
pub(super) struct StartHeader<'a> {
    pub(super) protocol: u32,
    pub(super) mode: Mode,
    pub(super) entrypoint: &'a str,
    pub(super) code: &'a std::path::Path,
    pub(super) site: Option<&'a std::path::Path>,
    pub(super) secrets: &'a std::collections::BTreeMap<String, String>,
    pub(super) env: &'a std::collections::BTreeMap<String, String>,
    pub(super) retry_on: Option<&'a [String]>,
    pub(super) marks: Option<&'a std::path::Path>,
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    Describe,
    Run,
}

/// What the host says.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Reply {
    Ready {
        protocol: u32,
        python: String,
        function: Box<Described>,
    },
    Failed {
        #[serde(flatten)]
        error: HostError,
    },
    Part {
        id: u64,
        rows: usize,
        #[serde(default)]
        failed: Vec<FailedRow>,
        #[serde(default)]
        busy_us: u64,
    },
    Done {
        id: u64,
    },
    Raised {
        id: u64,
        #[serde(flatten)]
        error: HostError,
    },
}

/// An error of one row.
#[derive(Debug, Deserialize)]
pub(super) struct FailedRow {
    pub(super) row: usize,
    #[serde(flatten)]
    pub(super) error: HostError,
}

/// An error as a host tells it.
#[derive(Debug, Deserialize)]
pub(super) struct HostError {
    kind: String,
    message: String,
    traceback: Option<String>,
    #[serde(default)]
    transient: bool,
    #[serde(default)]
    rate_limited: bool,
    retry_after_s: Option<f64>,
    #[serde(default)]
    out_of_device_memory: bool,
    /// The host can use its device no more, and ends.
    #[serde(default)]
    pub(super) device_lost: bool,
}

impl HostError {
    pub(super) fn into_row_error(self) -> RowError {
        let after_ms = (self.retry_after_s)
            .and_then(|seconds| std::time::Duration::try_from_secs_f64(seconds).ok())
            .and_then(|after| u64::try_from(after.as_millis()).ok());
        RowError {
            again: match self {
                // Another host may have no such trouble.
                Self {
                    device_lost: true, ..
                } => Again::Later { after_ms: None },
                Self {
                    out_of_device_memory: true,
                    ..
                } => Again::Fewer,
                Self {
                    rate_limited: true, ..
                } => Again::RateLimited { after_ms },
                Self {
                    transient: true, ..
                } => Again::Later { after_ms },
                _ => Again::Never,
            },
            kind: self.kind,
            message: self.message,
            traceback: self.traceback,
        }
    }
}

/// Writes a frame; `body` is an IPC stream or empty.
pub(super) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    header: &Request<'_>,
    body: &[u8],
) -> io::Result<()> {
    let header = serde_json::to_vec(header)?;
    let length = u32::try_from(header.len()).map_err(io::Error::other)?;
    let mut head = Vec::with_capacity(16 + header.len());
    head.extend_from_slice(&MAGIC);
    head.extend_from_slice(&length.to_le_bytes());
    head.extend_from_slice(&(body.len() as u64).to_le_bytes());
    head.extend_from_slice(&header);
    // One write for small calls: the host then wakes once.
    if body.len() <= 32 << 10 {
        head.extend_from_slice(body);
        return to.write_all(&head).await;
    }
    to.write_all(&head).await?;
    to.write_all(body).await
}

/// Reads a frame; `None` where the other side ended between frames.
pub(super) async fn read(
    from: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<(Reply, Buffer)>> {
    let mut head = [0; 16];
    let mut filled = 0;
    while filled < head.len() {
        let read = from
            .read(head.get_mut(filled..).unwrap_or_default())
            .await?;
        match read {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            read => filled += read,
        }
    }
    let wrong = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let [
        m0,
        m1,
        m2,
        m3,
        h0,
        h1,
        h2,
        h3,
        b0,
        b1,
        b2,
        b3,
        b4,
        b5,
        b6,
        b7,
    ] = head;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(wrong("a frame does not begin like one"));
    }
    let header = u32::from_le_bytes([h0, h1, h2, h3]);
    if header > LONGEST_HEADER {
        return Err(wrong("a header is too long"));
    }
    let body = u64::from_le_bytes([b0, b1, b2, b3, b4, b5, b6, b7]);
    let body = usize::try_from(body).map_err(|_| wrong("a body is too long"))?;
    let header = read_exactly(from, header as usize).await?;
    let header = serde_json::from_slice(&header)?;
    let body = read_exactly(from, body).await?;
    Ok(Some((header, Buffer::from_vec(body))))
}

/// Without zeroing memory that is about to be overwritten.
async fn read_exactly(from: &mut (impl AsyncRead + Unpin), length: usize) -> io::Result<Vec<u8>> {
    // What a host claims is not believed beyond this: memory grows as bytes arrive.
    let mut bytes = Vec::with_capacity(length.min(64 << 20));
    let read = from.take(length as u64).read_to_end(&mut bytes).await?;
    match read == length {
        true => Ok(bytes),
        false => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// An IPC stream of a schema alone.
pub(super) fn encode_schema(schema: &Schema) -> Result<Vec<u8>, ArrowError> {
    let mut writer = StreamWriter::try_new(vec![], schema)?;
    writer.finish()?;
    writer.into_inner()
}

/// An IPC stream of one batch.
pub(super) fn encode(batch: &RecordBatch) -> Result<Vec<u8>, ArrowError> {
    let bytes = batch.get_array_memory_size().min(64 << 20);
    let mut writer = StreamWriter::try_new(Vec::with_capacity(bytes / 2), &batch.schema())?;
    writer.write(batch)?;
    writer.finish()?;
    writer.into_inner()
}

/// The one column of a stream's one batch, pointing into the body.
pub(super) fn decode(mut body: Buffer) -> Result<ArrayRef, ArrowError> {
    let mut decoder = StreamDecoder::new();
    let missing = || ArrowError::IpcError("a part has no column".to_owned());
    let batch = decoder.decode(&mut body)?.ok_or_else(missing)?;
    batch.columns().first().cloned().ok_or_else(missing)
}

/// The type of the one field of a stream.
pub(super) fn decode_type(body: &Buffer) -> Result<DataType, ArrowError> {
    let reader = arrow_ipc::reader::StreamReader::try_new(body.as_slice(), None)?;
    let schema = reader.schema();
    let field = schema.fields().first();
    let field = field.ok_or_else(|| ArrowError::IpcError("there is no type".to_owned()))?;
    Ok(field.data_type().clone())
}

/// Gives a result the column's exact type, where they differ only in names and nullability inside.
pub(super) fn as_column(values: ArrayRef, output: &DataType) -> ArrayRef {
    if values.data_type() == output {
        return values;
    }
    let data = values.to_data().into_builder().data_type(output.clone());
    match alike(values.data_type(), output).then(|| data.build()) {
        Some(Ok(data)) => arrow_array::make_array(data),
        _ => values,
    }
}

/// Whether two types have the same layout and differ only in names, nullability or metadata.
fn alike(left: &DataType, right: &DataType) -> bool {
    use DataType::{FixedSizeList, LargeList, List, Map, Struct};
    match (left, right) {
        (List(left), List(right)) | (LargeList(left), LargeList(right)) => {
            alike(left.data_type(), right.data_type())
        }
        (FixedSizeList(left, a), FixedSizeList(right, b)) => {
            a == b && alike(left.data_type(), right.data_type())
        }
        (Map(left, a), Map(right, b)) => a == b && alike(left.data_type(), right.data_type()),
        (Struct(left), Struct(right)) => {
            left.len() == right.len()
                && (left.iter().zip(right)).all(|(left, right)| {
                    left.name() == right.name() && alike(left.data_type(), right.data_type())
                })
        }
        _ => left == right,
    }
}

/// A batch's schema under other names, and nullable.
pub(super) fn nullable(schema: &Schema) -> Arc<Schema> {
    let fields = schema.fields().iter();
    Arc::new(Schema::new(
        fields
            .map(|field| field.as_ref().clone().with_nullable(true))
            .collect::<Vec<_>>(),
    ))
}
