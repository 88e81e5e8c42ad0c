//! Whether a pool can be made: what KubeRay, Ray or Kubernetes would refuse later is refused here, all
//! of it at once.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::file::{File, HeadGroup, Scalar, WorkerGroup};
use super::names::is_dns_1123;
use super::{
    Existing, Group, Kubernetes, Lifetime, Place, Pods, Pool, RAY_CPU, Scale, names, quantity,
};

mod pods;

use pods::Defaults;

/// Longest name of a RayCluster: KubeRay makes names of services and pods from it.
const LONGEST_NAME: usize = 53;
/// Since this version Ray knows tokens.
const TOKENS_SINCE: (u32, u32) = (2, 52);
/// Groups whose name KubeRay uses itself.
const HEAD: &str = "headgroup";

/// What is wrong in one place of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where, as `worker_groups[0].max`.
    pub path: String,
    /// What is wrong and what to write instead.
    pub text: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.text)
    }
}

/// Problems as they are found.
#[derive(Debug, Default)]
struct Problems(Vec<Problem>);

impl Problems {
    fn add(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.0.push(Problem {
            path: path.into(),
            text: text.into(),
        });
    }

    /// A value that must be there.
    fn needed(&mut self, path: &str, value: Option<String>) -> String {
        match value.filter(|value| !value.trim().is_empty()) {
            Some(value) => value,
            None => {
                self.add(path, "is missing");
                String::new()
            }
        }
    }

    /// A whole number of at least `least`.
    fn whole(
        &mut self,
        path: &str,
        value: Option<&Scalar>,
        default: Option<u32>,
        least: u32,
    ) -> u32 {
        let value = match (value, default) {
            (Some(value), _) => value,
            (None, Some(default)) => return default,
            (None, None) => {
                self.add(path, "is missing");
                return least;
            }
        };
        match value {
            Scalar::Whole(number) if u32::try_from(*number).is_ok_and(|number| number >= least) => {
                u32::try_from(*number).unwrap_or(least)
            }
            other => {
                self.add(
                    path,
                    format!("'{other}' is no whole number of at least {least}"),
                );
                least
            }
        }
    }

    /// Seconds, as a number or with a unit.
    fn seconds(&mut self, path: &str, value: Option<&Scalar>, default: f64) -> f64 {
        let seconds = match value {
            None => Some(default),
            Some(Scalar::Whole(_) | Scalar::Text(_)) => value
                .and_then(|text| quantity::time(&text.to_string()))
                .map(|time| time.as_secs_f64()),
            Some(Scalar::Part(number)) => Some(*number),
        };
        match seconds {
            Some(seconds) if seconds > 0.0 && seconds.is_finite() => seconds,
            _ => {
                let told = value.map(ToString::to_string).unwrap_or_default();
                self.add(
                    path,
                    format!("'{told}' is no time of more than 0: write seconds, or 45s, 30m, 1h"),
                );
                default
            }
        }
    }
}

/// The pool that a file describes, or everything that is wrong with it.
pub(super) fn checked(file: File) -> Result<Pool, Vec<Problem>> {
    let mut problems = Problems::default();
    let pool = pool(file, &mut problems);
    match problems.0.is_empty() {
        true => Ok(pool),
        false => Err(problems.0),
    }
}

fn pool(file: File, problems: &mut Problems) -> Pool {
    let name = problems.needed("name", file.name.clone());
    if !name.is_empty() && (!names::is_dns_1035(&name) || name.len() > LONGEST_NAME) {
        problems.add(
            "name",
            format!("'{name}' is no name of a RayCluster: a small letter, then small letters, digits and '-', at most {LONGEST_NAME} in all"),
        );
    }
    let service = problems.needed("service", file.service.clone());
    if !service.is_empty()
        && service
            .split_once("://")
            .is_none_or(|(scheme, rest)| scheme.is_empty() || rest.is_empty())
    {
        problems.add(
            "service",
            format!("'{service}' is no prefix of a service, such as s3://BUCKET/PREFIX"),
        );
    }
    let told = file.ray_version.as_ref().map(ToString::to_string);
    let ray_version = match file.existing.is_some() {
        // Whoever runs it has chosen; with a version it is compared.
        true => told.unwrap_or_default(),
        false => problems.needed("ray_version", told),
    };
    let version = version(&ray_version);
    if !ray_version.is_empty() && version.is_none() {
        problems.add(
            "ray_version",
            format!("'{ray_version}' is no version of Ray, such as 2.60.0"),
        );
    }
    let place = match &file.existing {
        Some(existing) => {
            refuse_what_kubernetes_needs(&file, problems);
            let address = problems.needed("existing.address", existing.address.clone());
            if !address.is_empty()
                && !address.starts_with("http://")
                && !address.starts_with("https://")
            {
                problems.add(
                    "existing.address",
                    format!(
                        "'{address}' is no URL of a Ray dashboard, such as http://127.0.0.1:8265"
                    ),
                );
            }
            Place::Existing(Existing {
                address: address.trim_end_matches('/').to_owned(),
                token_file: existing.token_file.clone(),
            })
        }
        None => Place::Kubernetes(Box::new(kubernetes(&file, version, problems))),
    };
    let on_kubernetes = file.existing.is_none();
    let defaults = Defaults::of(&file);
    let groups: Vec<Group> = (file.worker_groups.iter().enumerate())
        .map(|(place, group)| {
            worker_group(
                &format!("worker_groups[{place}]"),
                group,
                on_kubernetes,
                &defaults,
                problems,
            )
        })
        .collect();
    if groups.is_empty() {
        problems.add(
            "worker_groups",
            "there is none: a pool has at least one group",
        );
    }
    let (mut names, mut classes) = (BTreeSet::new(), BTreeSet::new());
    for (place, group) in groups.iter().enumerate() {
        if !group.name.is_empty() && !names.insert(&group.name) {
            problems.add(
                format!("worker_groups[{place}].name"),
                format!("there is another group '{}'", group.name),
            );
        }
        if !group.class.is_empty() && !classes.insert(&group.class) {
            problems.add(
                format!("worker_groups[{place}].class"),
                format!(
                    "another group does the batches of '{}': each would be scaled for all of them",
                    group.class
                ),
            );
        }
    }
    Pool {
        name,
        service: service.trim_end_matches('/').to_owned(),
        ray_version,
        place,
        groups,
    }
}

fn kubernetes(file: &File, version: Option<(u32, u32)>, problems: &mut Problems) -> Kubernetes {
    let namespace = file
        .namespace
        .clone()
        .unwrap_or_else(|| "lance-backfill".to_owned());
    if !is_dns_1123(&namespace) {
        problems.add(
            "namespace",
            format!("'{namespace}' is no name of a namespace"),
        );
    }
    let token = match file.auth.as_deref() {
        None | Some("token") => true,
        Some("disabled") => false,
        Some(other) => {
            problems.add("auth", format!("'{other}' is neither token nor disabled"));
            true
        }
    };
    if token && version.is_some_and(|version| version < TOKENS_SINCE) {
        problems.add("ray_version", "Ray knows tokens since 2.52.0: take a newer one, or write 'auth: disabled' where nobody else reaches the cluster");
    }
    let lifetime = match file.lifetime.as_deref() {
        None | Some("persistent") => Lifetime::Persistent,
        Some("on-demand") => Lifetime::OnDemand,
        Some(other) => {
            problems.add(
                "lifetime",
                format!("'{other}' is neither persistent nor on-demand"),
            );
            Lifetime::Persistent
        }
    };
    let waiting = problems.seconds("waiting_for_node", file.waiting_for_node.as_ref(), 1_800.0);
    let head = file.head_group.clone().unwrap_or_default();
    let head = HeadGroup {
        cpus: head.cpus.or(Some(Scalar::Whole(2))),
        memory: head.memory.or_else(|| Some(Scalar::Text("4Gi".to_owned()))),
        ..head
    };
    Kubernetes {
        namespace,
        token,
        lifetime,
        waiting_for_node: Duration::from_secs_f64(waiting),
        head: pods::pods("head_group", &head, &Defaults::of(file), problems),
    }
}

/// Fields that say something about pods mean nothing where somebody else makes them.
fn refuse_what_kubernetes_needs(file: &File, problems: &mut Problems) {
    let named = [
        ("namespace", file.namespace.is_some()),
        ("image", file.image.is_some()),
        ("service_account", file.service_account.is_some()),
        ("auth", file.auth.is_some()),
        ("waiting_for_node", file.waiting_for_node.is_some()),
        ("head_group", file.head_group.is_some()),
    ];
    for (path, _) in named.iter().filter(|(_, is_there)| *is_there) {
        problems.add(
            *path,
            "means nothing beside 'existing': leave one of them out",
        );
    }
    for (place, group) in file.worker_groups.iter().enumerate() {
        let named = [
            ("min", group.min.is_some()),
            ("max", group.max.is_some()),
            ("memory", group.memory.is_some()),
            ("image", group.image.is_some()),
            ("service_account", group.service_account.is_some()),
            ("node_selector", !group.node_selector.is_empty()),
            ("tolerations", !group.tolerations.is_empty()),
            ("labels", !group.labels.is_empty()),
            ("annotations", !group.annotations.is_empty()),
            ("env", !group.env.is_empty()),
            ("secrets_env", !group.secrets_env.is_empty()),
            ("priority_class", group.priority_class.is_some()),
        ];
        for (field, _) in named.iter().filter(|(_, is_there)| *is_there) {
            problems.add(
                format!("worker_groups[{place}].{field}"),
                "means nothing beside 'existing': whoever runs that cluster makes its nodes",
            );
        }
    }
}

fn worker_group(
    path: &str,
    group: &WorkerGroup,
    on_kubernetes: bool,
    defaults: &Defaults,
    problems: &mut Problems,
) -> Group {
    let at = |field: &str| format!("{path}.{field}");
    let name = problems.needed(&at("name"), group.name.clone());
    if !name.is_empty() && (!is_dns_1123(&name) || name == HEAD) {
        problems.add(at("name"), format!("'{name}' is no name of a group: small letters, digits and '-', at most 63, and not '{HEAD}'"));
    }
    let class = match &group.class {
        Some(class) => class.clone(),
        None => {
            problems.add(at("class"), format!("is missing: say whose batches it does, a GPU class of the service or '{RAY_CPU}'"));
            String::new()
        }
    };
    if group.class.is_some() && !is_dns_1123(&class) {
        problems.add(
            at("class"),
            format!("'{class}' is no name of a class: small letters, digits and '-'"),
        );
    }
    let gpus = match &group.gpus {
        Some(Scalar::Part(part)) => {
            problems.add(
                at("gpus"),
                format!(
                    "a pod has whole devices, not {part}: give 1, and share it by 'workers_per_gpu'"
                ),
            );
            1
        }
        value => problems.whole(&at("gpus"), value.as_ref(), Some(0), 0),
    };
    match (class.as_str(), gpus) {
        ("", _) => {}
        (RAY_CPU, 1..) => problems.add(at("gpus"), format!("workers of class '{RAY_CPU}' have none: name a GPU class, or leave 'gpus' out")),
        (RAY_CPU, 0) | (_, 1..) => {}
        (_, 0) => problems.add(at("gpus"), format!("class '{class}' needs at least one a pod; workers without GPUs are of class '{RAY_CPU}'")),
    }
    let workers_per_gpu = match &group.workers_per_gpu {
        Some(Scalar::Part(part)) => {
            problems.add(
                at("workers_per_gpu"),
                format!("'{part}' is no whole number: two workers that share a device are 2"),
            );
            1
        }
        value => problems.whole(&at("workers_per_gpu"), value.as_ref(), Some(1), 1),
    };
    let min = problems.whole(&at("min"), group.min.as_ref(), Some(0), 0);
    let most = if on_kubernetes { None } else { Some(0) };
    let max = problems.whole(&at("max"), group.max.as_ref(), most, 0);
    if min > max && group.max.is_some() {
        problems.add(
            at("max"),
            format!("is {max}, and min is {min}: at most as many as max are there"),
        );
    }
    let pods = match on_kubernetes {
        true => Some(pods::pods(path, &group.pods(), defaults, problems)),
        false => None,
    };
    let cpus = match &group.cpus {
        Some(cpus) => quantity(&cpus.to_string()),
        None => None,
    };
    if !on_kubernetes && cpus.is_none_or(|cpus| cpus <= 0.0) {
        problems.add(
            at("cpus"),
            "says how many cores the workers of a node may use, such as 4",
        );
    }
    let seconds = |problems: &mut Problems, field: &str, value: Option<&Scalar>, default: f64| {
        problems.seconds(&at(field), value, default)
    };
    Group {
        scale: Scale {
            min,
            max,
            batch_s: seconds(problems, "batch_s", group.batch_s.as_ref(), 20.0),
            drain_target_s: seconds(
                problems,
                "drain_target_s",
                group.drain_target_s.as_ref(),
                300.0,
            ),
            cool_down: Duration::from_secs_f64(seconds(
                problems,
                "cool_down_s",
                group.cool_down_s.as_ref(),
                900.0,
            )),
        },
        grace: Duration::from_secs_f64(seconds(problems, "grace_s", group.grace_s.as_ref(), 150.0)),
        at_once: problems.whole(&at("at_once"), group.at_once.as_ref(), Some(2), 1),
        cpus: cpus.unwrap_or_default(),
        name,
        class,
        gpus,
        workers_per_gpu,
        pods,
    }
}

/// Major and minor of a version that has three numbers.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.splitn(3, '.');
    let mut number = || numbers.next()?.parse::<u32>().ok();
    let (major, minor) = (number()?, number()?);
    let patch = numbers.next()?;
    patch
        .starts_with(|first: char| first.is_ascii_digit())
        .then_some((major, minor))
}
