//! Metrics and health over HTTP.

use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread::JoinHandle;

use lance_backfill_ports::{Error, Result};
use tiny_http::{Header, Response};

use super::Metrics;

/// Answers until it is dropped.
pub struct Server {
    server: Arc<tiny_http::Server>,
    thread: Option<JoinHandle<()>>,
}

/// Answers `/metrics` and `/healthz` at an address; `is_well` is asked each time.
pub fn serve(
    address: &str,
    metrics: Arc<Metrics>,
    is_well: impl Fn() -> bool + Send + 'static,
) -> Result<Server> {
    let unable =
        |why: String| Error::invalid(format!("cannot listen on '{address}'")).with_source(why);
    let mut places = address
        .to_socket_addrs()
        .map_err(|error| unable(error.to_string()))?;
    let place = places
        .next()
        .ok_or_else(|| unable("it is no address".to_owned()))?;
    let server = tiny_http::Server::http(place).map_err(|error| unable(error.to_string()))?;
    let server = Arc::new(server);
    let listening = server.clone();
    let thread = std::thread::spawn(move || {
        for request in listening.incoming_requests() {
            let path = request.url().split('?').next().unwrap_or_default();
            let answered = match path {
                "/metrics" => request.respond(text(200, metrics.text())),
                "/healthz" if is_well() => request.respond(text(200, "ok\n".to_owned())),
                "/healthz" => request.respond(text(503, "the loop hangs\n".to_owned())),
                _ => request.respond(text(404, "there are /metrics and /healthz\n".to_owned())),
            };
            if let Err(error) = answered {
                tracing::debug!(%error, "who asked went away");
            }
        }
    });
    Ok(Server {
        server,
        thread: Some(thread),
    })
}

impl Server {
    /// Where it listens.
    pub fn address(&self) -> Option<SocketAddr> {
        self.server.server_addr().to_ip()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.server.unblock();
        if let Some(thread) = self.thread.take() {
            // One that panicked has nothing more to say.
            let _ = thread.join();
        }
    }
}

fn text(status: u16, body: String) -> Response<std::io::Cursor<Vec<u8>>> {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let kind = if body.starts_with('#') {
        kind
    } else {
        "text/plain; charset=utf-8"
    };
    let response = Response::from_string(body).with_status_code(status);
    match Header::from_bytes("content-type", kind) {
        Ok(header) => response.with_header(header),
        Err(()) => response,
    }
}
