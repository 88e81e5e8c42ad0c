//! Messages of HTTP/1.1, as they come, whole.

use std::io::{self, BufRead, Read};

/// Longest head.
const MOST_HEAD_BYTES: usize = 1 << 16;

/// A request or an answer with all its bytes, to be passed on as it is.
pub(super) struct Message {
    pub(super) bytes: Vec<u8>,
    head_end: usize,
}

impl Message {
    /// The next one on a connection; none at its end. An answer must know what was asked.
    pub(super) fn read(from: &mut impl BufRead, asked: Option<&str>) -> io::Result<Option<Self>> {
        let mut bytes = vec![];
        while !bytes.ends_with(b"\r\n\r\n") {
            if from.read_until(b'\n', &mut bytes)? == 0 || bytes.len() > MOST_HEAD_BYTES {
                let nothing_came = bytes.is_empty();
                let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                return if nothing_came { Ok(None) } else { Err(cut) };
            }
        }
        let head_end = bytes.len();
        let mut message = Self { bytes, head_end };
        let length = message.header("content-length").map(str::to_owned);
        let status = message.status();
        let is_bare = asked == Some("HEAD") || status == 204 || status == 304;
        if message.header("transfer-encoding").is_some() {
            message.read_chunks(from)?;
        } else if let Some(length) = length.filter(|_| !is_bare) {
            let length = length.parse().map_err(io::Error::other)?;
            from.by_ref().take(length).read_to_end(&mut message.bytes)?;
        } else if asked.is_some() && !is_bare {
            from.read_to_end(&mut message.bytes)?;
        }
        Ok(Some(message))
    }

    fn read_chunks(&mut self, from: &mut impl BufRead) -> io::Result<()> {
        loop {
            let start = self.bytes.len();
            from.read_until(b'\n', &mut self.bytes)?;
            let size = String::from_utf8_lossy(&self.bytes[start..]);
            let size = size.split(';').next().unwrap_or_default().trim();
            let size = u64::from_str_radix(size, 16).map_err(io::Error::other)?;
            // The line's end after it, too.
            from.by_ref().take(size + 2).read_to_end(&mut self.bytes)?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn head(&self) -> &str {
        // A head that is no text has nothing that anybody looks for.
        std::str::from_utf8(&self.bytes[..self.head_end]).unwrap_or_default()
    }

    pub(super) fn body(&self) -> &[u8] {
        &self.bytes[self.head_end..]
    }

    /// A header's value.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head().lines().skip(1);
        lines.find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Method and path of a request.
    pub(super) fn request_line(&self) -> (&str, &str) {
        let line = self.head().lines().next().unwrap_or_default();
        let mut words = line.split(' ');
        (
            words.next().unwrap_or_default(),
            words.next().unwrap_or_default(),
        )
    }

    /// Status of an answer; 0 of a request.
    pub(super) fn status(&self) -> u16 {
        let line = self.head().lines().next().unwrap_or_default();
        let status = line
            .strip_prefix("HTTP/1.1 ")
            .and_then(|rest| rest.get(..3));
        status.and_then(|status| status.parse().ok()).unwrap_or(0)
    }
}
