//! Ray's Jobs API, by which the supervisor is started and stopped.

use std::time::Duration;

use lance_backfill_ports::{Error, ErrorKind, Result};
use reqwest::{Method, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::Value;

mod forward;
mod reach;

pub use reach::{Reach, connect};

/// Ray's dashboard answers within milliseconds; one that is starting may take its time.
const MOST_TIME: Duration = Duration::from_secs(20);
/// KubeRay itself sends the token in this header, since the API server's proxy keeps the usual one.
const TOKEN: &str = "X-Ray-Authorization";
/// Port of dashboard and Jobs API.
pub const PORT: u16 = 8265;

/// Ray's Jobs API at one address.
#[derive(Debug)]
pub struct Jobs {
    http: reqwest::Client,
    address: String,
    token: Option<String>,
    /// Keeps the way there open.
    _way: Option<forward::Forward>,
}

/// A job that Ray knows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The name that whoever submitted it gave it.
    pub submission_id: Option<String>,
    /// `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED` or `FAILED`.
    pub status: String,
    /// What Ray says of it.
    pub message: Option<String>,
    /// What whoever submitted it wrote beside.
    #[serde(default)]
    pub metadata: Option<std::collections::BTreeMap<String, String>>,
}

/// A job to submit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Submission {
    /// Its name.
    pub submission_id: String,
    /// Command line.
    pub entrypoint: String,
    /// Environment and the like.
    pub runtime_env: Value,
    /// What is written beside.
    pub metadata: std::collections::BTreeMap<String, String>,
}

impl Job {
    /// Whether it has come to an end.
    pub fn has_ended(&self) -> bool {
        matches!(self.status.as_str(), "STOPPED" | "SUCCEEDED" | "FAILED")
    }
}

impl Jobs {
    /// The API at an address such as `http://127.0.0.1:8265`.
    pub fn new(address: &str, token: Option<String>) -> Result<Self> {
        let http = reqwest::Client::builder()
            // Clusters are near; a proxy is for what is not.
            .no_proxy()
            .timeout(MOST_TIME)
            .build()
            .map_err(|error| Error::internal("no HTTP client can be made").with_source(error))?;
        Ok(Self {
            http,
            address: address.trim_end_matches('/').to_owned(),
            token,
            _way: None,
        })
    }

    /// The version of Ray that runs there.
    pub async fn version(&self) -> Result<String> {
        #[derive(Deserialize)]
        struct Version {
            ray_version: String,
        }
        let version: Version = self.json(Method::GET, "/api/version", None).await?;
        Ok(version.ray_version)
    }

    /// Refuses a cluster of another version: it would not understand the package of the pool's image.
    pub async fn expect_version(&self, wanted: &str) -> Result<()> {
        let found = self.version().await?;
        // None is wanted where whoever runs the cluster has chosen.
        if wanted.is_empty() || found == wanted {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the head at {} runs Ray {found}, and the pool file says {wanted}: write 'ray_version: {found}', or use images with {wanted}",
            self.address
        )))
    }

    /// A job by its name.
    pub async fn job(&self, id: &str) -> Result<Option<Job>> {
        match self.send(Method::GET, &job_path(id), None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(None),
            answer => self.parsed(answer).map(Some),
        }
    }

    /// Submits a job; Ray answers 500 for a name that is taken, so look first.
    pub async fn submit(&self, submission: &Submission) -> Result<()> {
        let body = serde_json::to_value(submission).map_err(|error| {
            Error::internal("a job cannot be written as JSON").with_source(error)
        })?;
        let answer = self.send(Method::POST, "/api/jobs/", Some(&body)).await?;
        if answer.0.is_server_error() && self.job(&submission.submission_id).await?.is_some() {
            // Another controller was first, or an answer was lost.
            return Ok(());
        }
        self.parsed::<Value>(answer).map(drop)
    }

    /// Has a job end by itself, within the time that it was submitted with.
    pub async fn stop(&self, id: &str) -> Result<()> {
        let path = format!("{}/stop", job_path(id));
        match self.send(Method::POST, &path, None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(()),
            answer => self.parsed::<Value>(answer).map(drop),
        }
    }

    /// Forgets a job that has ended.
    pub async fn delete(&self, id: &str) -> Result<()> {
        match self.send(Method::DELETE, &job_path(id), None).await? {
            (StatusCode::NOT_FOUND, _) => Ok(()),
            answer => self.parsed::<Value>(answer).map(drop),
        }
    }

    /// All jobs.
    pub async fn jobs(&self) -> Result<Vec<Job>> {
        self.json(Method::GET, "/api/jobs/", None).await
    }

    /// The last of what a job wrote.
    pub async fn logs(&self, id: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Logs {
            logs: String,
        }
        let path = format!("{}/logs", job_path(id));
        let logs: Logs = self.json(Method::GET, &path, None).await?;
        Ok(logs.logs)
    }

    /// The most GPUs that a node of the cluster has.
    pub async fn most_gpus(&self) -> Result<f64> {
        let nodes: Value = self
            .json(Method::GET, "/api/v0/nodes?detail=1&limit=10000", None)
            .await?;
        let listed = nodes
            .pointer("/data/result/result")
            .and_then(Value::as_array);
        let gpus = |node: &Value| node.pointer("/resources_total/GPU").and_then(Value::as_f64);
        Ok(listed
            .into_iter()
            .flatten()
            .filter_map(gpus)
            .fold(0.0, f64::max))
    }

    async fn json<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T> {
        let answer = self.send(method, path, body).await?;
        self.parsed(answer)
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<(StatusCode, Vec<u8>)> {
        let mut request = self.http.request(method, format!("{}{path}", self.address));
        if let Some(token) = &self.token {
            request = request.header(TOKEN, format!("Bearer {token}"));
        }
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request
            .send()
            .await
            .map_err(|error| self.unreached(error))?;
        let status = answer.status();
        let bytes = answer
            .bytes()
            .await
            .map_err(|error| self.unreached(error))?;
        match status {
            StatusCode::UNAUTHORIZED if self.token.is_none() => Err(Error::invalid(format!(
                "the Ray cluster at {} asks for a token: write 'auth: token', or 'token_file' under 'existing'",
                self.address
            ))),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Err(Error::invalid(format!(
                "the Ray cluster at {} refuses the token: it is not that of this cluster",
                self.address
            ))),
            status => Ok((status, bytes.to_vec())),
        }
    }

    fn parsed<T: for<'de> Deserialize<'de>>(
        &self,
        (status, bytes): (StatusCode, Vec<u8>),
    ) -> Result<T> {
        if !status.is_success() {
            let kind = match status.is_server_error() {
                true => ErrorKind::Unavailable,
                false => ErrorKind::Invalid,
            };
            let said = String::from_utf8_lossy(&bytes);
            let said: String = said
                .lines()
                .rev()
                .find(|line| !line.trim().is_empty())
                .unwrap_or_default()
                .chars()
                .take(300)
                .collect();
            return Err(Error::new(
                kind,
                format!("the Ray cluster at {} answers {status}", self.address),
            )
            .with_source(said));
        }
        serde_json::from_slice(&bytes).map_err(|error| {
            Error::new(
                ErrorKind::Unavailable,
                format!("what answers at {} is no Ray dashboard", self.address),
            )
            .with_source(error)
        })
    }

    fn unreached(&self, error: reqwest::Error) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!("the Ray cluster at {} cannot be reached", self.address),
        )
        .with_source(error.without_url())
    }
}

fn job_path(id: &str) -> String {
    format!("/api/jobs/{id}")
}
