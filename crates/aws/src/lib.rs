//! What the service needs of AWS: queues on SQS, and what events of S3 and EventBridge say.
//!
//! Tables and state stores on S3 need nothing of this crate: Lance reaches them itself.

pub mod event;
pub mod sqs;

pub use sqs::{Client, SqsQueue, client_for, client_from_environment};
