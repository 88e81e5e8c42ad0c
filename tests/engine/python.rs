//! Python functions: real interpreters, real hosts.

mod canary;
mod declare;
mod errors;
mod fill;
mod killers;
mod secrets;
