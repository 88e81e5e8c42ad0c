//! What the service needs of AWS: queues on SQS, what events of S3 and EventBridge say, and secrets.
//!
//! Tables and state stores on S3 need nothing of this crate: Lance reaches them itself.

pub mod event;
pub mod secrets;
pub mod sqs;

pub use secrets::{ManagedSecrets, SecretsClient};
pub use sqs::{Client, SqsQueue, client_for, client_from_environment};
