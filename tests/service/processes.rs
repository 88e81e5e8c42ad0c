//! Processes of functions on this machine, found by what the system knows of them.

use std::fs;
use std::process::Command;

/// A process, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Process(u32);

/// All processes of a function of a deployment.
pub(crate) fn of_function(name: &str) -> Vec<Process> {
    let wanted = format!("AWS_LAMBDA_FUNCTION_NAME={name}");
    let (folders, wanted) = (fs::read_dir("/proc").expect("/proc"), wanted.as_bytes());
    folders
        .flatten()
        .filter_map(|folder| folder.file_name().to_str()?.parse().ok().map(Process))
        .filter(|process| {
            environment(*process)
                .split(|byte| *byte == 0)
                .any(|one| one == wanted)
        })
        .collect()
}

/// The process of a function at the other end of a connection to us.
pub(crate) fn of_client(port: u16, ours: u16) -> Option<Process> {
    let ends = [port, ours].map(|port| format!("0100007F:{port:04X}"));
    let connections = fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = connections.lines().find_map(|line| {
        let words: Vec<&str> = line.split_ascii_whitespace().collect();
        (words.get(1..3)? == ends).then(|| words.get(9).map(|inode| (*inode).to_owned()))?
    })?;
    let socket = format!("socket:[{inode}]");
    let folders = fs::read_dir("/proc").ok()?.flatten();
    let mut processes = folders.filter_map(|folder| folder.file_name().to_str()?.parse().ok());
    processes.find_map(|id: u32| {
        let open = fs::read_dir(format!("/proc/{id}/fd")).ok()?.flatten();
        let mut open = open.filter_map(|file| fs::read_link(file.path()).ok());
        let is_ours = open.any(|file| file.to_str() == Some(&socket));
        let process = Process(id);
        // Never the test itself.
        let is_function = || {
            let name = b"AWS_LAMBDA_FUNCTION_NAME=";
            environment(process)
                .windows(name.len())
                .any(|at| at == name)
        };
        (is_ours && is_function()).then_some(process)
    })
}

fn environment(Process(id): Process) -> Vec<u8> {
    // A process that is gone has none.
    fs::read(format!("/proc/{id}/environ")).unwrap_or_default()
}

/// Kills a process, which has no say in it.
pub(crate) fn kill(process: Process) {
    signal(process, "-KILL");
}

/// Stops a process; it neither works nor ends.
pub(crate) fn freeze(process: Process) {
    signal(process, "-STOP");
}

fn signal(Process(id): Process, signal: &str) {
    // One that has just ended needs no signal.
    let _ = Command::new("kill")
        .args([signal, &id.to_string()])
        .output();
}
