//! Python functions: real interpreters, real hosts.

mod canary;
mod declare;
mod environments;
mod errors;
mod fill;
mod killed_hosts;
mod killers;
mod secrets;
mod types;
