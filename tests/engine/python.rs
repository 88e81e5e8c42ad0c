//! Python functions: real interpreters, real hosts.

mod budget;
mod canary;
mod deadline;
mod declare;
mod devices;
mod environments;
mod errors;
mod fill;
mod killed_hosts;
mod killers;
mod processes;
mod secrets;
mod types;
