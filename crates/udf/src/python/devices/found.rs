//! Which devices this process may use, and what they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::python::start::on_path;
use crate::python::watch::now;

/// How many devices this process may use, a fraction too, where somebody gives it a share of them.
const GPUS: &str = "LANCE_BACKFILL_GPUS";
/// What CUDA shows to a process, by its own rules.
const VISIBLE: &str = "CUDA_VISIBLE_DEVICES";
/// Parts of a device that are handed out.
pub(super) const PARTS: u32 = 1_000;
/// A driver in trouble keeps `nvidia-smi` for ever.
const LONGEST_QUESTION: Duration = Duration::from_secs(10);
const UNKNOWN: &str = "unknown";

/// A device of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Device {
    /// As `CUDA_VISIBLE_DEVICES` names it.
    pub(super) id: String,
    /// Parts of it that are this process's.
    pub(super) parts: u32,
}

/// The devices of this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) devices: Vec<Device>,
    /// Whether nobody else uses them: somebody gave them to this process.
    pub(super) reserved: bool,
    /// Why there are no more of them.
    pub(super) why: String,
}

impl Found {
    /// Those that the environment grants, or that this machine has.
    pub(super) fn of(environment: &BTreeMap<String, String>) -> Self {
        let granted = environment.get(GPUS).map(String::as_str);
        let visible = environment.get(VISIBLE).map(String::as_str);
        Self::granted(granted, visible).unwrap_or_else(|| {
            let count = match count_nodes(Path::new("/dev")) {
                0 => ask(environment).len(),
                nodes => nodes,
            };
            Self {
                devices: whole((0..count).map(|place| place.to_string())),
                reserved: false,
                why: match count {
                    0 => "this machine has none".to_owned(),
                    1 => "this machine has 1".to_owned(),
                    more => format!("this machine has {more}"),
                },
            }
        })
    }

    /// What the environment says; `None` if it says nothing.
    fn granted(granted: Option<&str>, visible: Option<&str>) -> Option<Self> {
        let visible_ids = visible.map(visible_ids);
        if let Some(text) = granted {
            let gpus = text.trim().parse().ok().filter(|gpus| *gpus >= 0.0);
            let Some(gpus) = gpus.filter(|gpus: &f64| gpus.is_finite()) else {
                return Some(Self {
                    devices: vec![],
                    reserved: true,
                    why: format!("{GPUS}='{text}' is not a number of them"),
                });
            };
            return Some(Self {
                devices: shares(gpus, visible_ids.as_deref()),
                reserved: true,
                why: format!("{GPUS}={text} is all that this process may use"),
            });
        }
        Some(Self {
            devices: whole(visible_ids?.into_iter()),
            reserved: true,
            why: format!("{VISIBLE}='{}' shows no more", visible.unwrap_or_default()),
        })
    }
}

/// Names before the first one that is none, as CUDA reads them.
fn visible_ids(text: &str) -> Vec<String> {
    let names = text.split(',').map(str::trim);
    let is_one = |name: &&str| {
        let number = name.parse::<u32>().is_ok();
        number || name.starts_with("GPU-") || name.starts_with("MIG-")
    };
    names.take_while(is_one).map(str::to_owned).collect()
}

fn whole(ids: impl Iterator<Item = String>) -> Vec<Device> {
    ids.map(|id| Device { id, parts: PARTS }).collect()
}

/// So many devices, the last of which may be a part of one.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "clamped to what fits"
)]
fn shares(gpus: f64, visible: Option<&[String]>) -> Vec<Device> {
    let mut left = (gpus * f64::from(PARTS)).floor().clamp(0.0, 1e6) as u32;
    let mut devices = vec![];
    while left > 0 {
        let place = devices.len();
        let id = match visible {
            None => place.to_string(),
            Some(ids) => match ids.get(place) {
                Some(id) => id.clone(),
                None => break,
            },
        };
        let parts = left.min(PARTS);
        devices.push(Device { id, parts });
        left -= parts;
    }
    devices
}

/// Files `nvidia0`, `nvidia1` and so on: as many as there are, by whatever number the machine has them.
fn count_nodes(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let is_device = |name: &str| {
        let number = name.strip_prefix("nvidia").unwrap_or_default();
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    };
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| is_device(name)).count()
}

/// A device as `nvidia-smi` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listed {
    index: String,
    uuid: String,
    name: String,
}

/// What `nvidia-smi` says, which does not go by what is visible to CUDA; nothing where it says nothing.
pub(super) fn ask(environment: &BTreeMap<String, String>) -> Vec<Listed> {
    let answer = on_path("nvidia-smi", environment).and_then(|program| answer_of(&program));
    answer.map_or_else(Vec::new, |text| listed(&text))
}

fn answer_of(program: &Path) -> Option<String> {
    let mut child = Command::new(program)
        .args(["--query-gpu=index,uuid,name", "--format=csv,noheader"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let give_up = now() + LONGEST_QUESTION;
    // A few lines fit into the pipe, so it ends before they are read.
    while matches!(child.try_wait(), Ok(None)) {
        if now() > give_up {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    let output = child.wait_with_output().ok()?;
    output.status.success().then_some(())?;
    String::from_utf8(output.stdout).ok()
}

fn listed(text: &str) -> Vec<Listed> {
    let one = |line: &str| {
        let mut parts = line.splitn(3, ',').map(|part| part.trim().to_owned());
        Some(Listed {
            index: parts.next()?,
            uuid: parts.next()?,
            name: parts.next().filter(|name| !name.is_empty())?,
        })
    };
    text.lines().filter_map(one).collect()
}

/// What kind of device it is: two of one kind have the same memory.
pub(super) fn model(id: &str, listed: &[Listed]) -> String {
    let is_it = |one: &&Listed| one.index == id || (!id.is_empty() && one.uuid.starts_with(id));
    let found = listed.iter().find(is_it);
    // A part of a partitioned device is listed with its device, if at all.
    let found = found.filter(|_| !id.starts_with("MIG-"));
    found.map_or_else(|| UNKNOWN.to_owned(), |one| one.name.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(found: &Found) -> Vec<(&str, u32)> {
        let devices = found.devices.iter();
        devices
            .map(|device| (device.id.as_str(), device.parts))
            .collect()
    }

    #[test]
    fn the_environment_grants_devices() {
        for (gpus, visible, expected) in [
            (Some("2"), None, &[("0", 1000), ("1", 1000)][..]),
            (Some("0.5"), None, &[("0", 500)]),
            (Some("1.25"), Some("3,1"), &[("3", 1000), ("1", 250)]),
            (Some("4"), Some("3"), &[("3", 1000)]),
            (Some("0"), Some("3"), &[]),
            (None, Some("3, 1"), &[("3", 1000), ("1", 1000)]),
            (None, Some("GPU-ab,-1,2"), &[("GPU-ab", 1000)]),
            (None, Some(""), &[]),
            (None, Some("NoDevFiles"), &[]),
        ] {
            let found = Found::granted(gpus, visible).expect("it says so");
            assert_eq!(ids(&found), expected, "{gpus:?} {visible:?}");
            assert!(found.reserved);
        }
        assert_eq!(Found::granted(None, None), None);
        let wrong = Found::granted(Some("many"), Some("0")).expect("it says so");
        assert!(wrong.devices.is_empty() && wrong.why.contains("'many'"));
    }

    #[test]
    fn devices_of_the_machine_are_counted_by_their_files() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in [
            "nvidia0",
            "nvidia3",
            "nvidiactl",
            "nvidia-uvm",
            "null",
            "nvidia",
        ] {
            std::fs::write(folder.path().join(name), "").expect("written");
        }
        assert_eq!(count_nodes(folder.path()), 2);
        assert_eq!(count_nodes(&folder.path().join("none")), 0);
    }

    #[test]
    fn models_are_found_by_index_or_by_the_beginning_of_a_uuid() {
        let listed = listed(
            "0, GPU-5a1b, NVIDIA H200\n1, GPU-77c0, NVIDIA A10G, special\nNo devices were found\n",
        );
        assert_eq!(listed.len(), 2);
        for (id, name) in [
            ("0", "NVIDIA H200"),
            ("1", "NVIDIA A10G, special"),
            ("GPU-77", "NVIDIA A10G, special"),
            ("2", "unknown"),
            ("MIG-5a1b", "unknown"),
        ] {
            assert_eq!(model(id, &listed), name, "{id}");
        }
    }

    #[test]
    fn a_question_is_answered_or_given_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let program = folder.path().join("nvidia-smi");
        let path = folder.path().to_str().expect("a path").to_owned();
        let environment = BTreeMap::from([("PATH".to_owned(), path)]);
        assert_eq!(ask(&environment), []);
        for (script, devices) in [
            ("#!/bin/sh\necho '0, GPU-1, NVIDIA L4'\n", 1),
            ("#!/bin/sh\necho '0, GPU-1, NVIDIA L4'\nexit 9\n", 0),
        ] {
            std::fs::write(&program, script).expect("written");
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(&program, mode).expect("it can be run");
            assert_eq!(ask(&environment).len(), devices);
        }
    }
}
