use super::*;

const SAMPLE: &str = include_str!("../../samples/pool.yaml");
const EXISTING: &str = include_str!("../../samples/existing.yaml");

/// The sample after some replacements, each of which must be possible.
fn sample(changes: &[(&str, &str)]) -> Result<Pool> {
    let mut text = SAMPLE.to_owned();
    for (from, to) in changes {
        assert!(text.contains(from), "the sample has no '{from}'");
        text = text.replacen(from, to, 1);
    }
    Pool::parse("pool.yaml", &text)
}

fn refused(changes: &[(&str, &str)]) -> String {
    sample(changes).expect_err("it is refused").one_line()
}

#[test]
fn the_samples_are_pools() {
    let pool = sample(&[]).expect("a pool");
    assert_eq!(pool.name, "embeddings");
    let [gpu, cpu] = pool.groups.as_slice() else {
        panic!("two groups");
    };
    assert_eq!(
        (gpu.class.as_str(), gpu.gpus, gpu.scale.max),
        ("a10g", 1, 4)
    );
    assert_eq!(
        (cpu.class.as_str(), cpu.gpus, cpu.scale.min),
        ("ray-cpu", 0, 0)
    );
    assert_eq!(cpu.workers_per_pod(), 1);
    let Place::Kubernetes(place) = &pool.place else {
        panic!("on Kubernetes");
    };
    assert!(place.token);
    assert_eq!(place.waiting_for_node, Duration::from_secs(1_800));
    let pods = cpu.pods.as_ref().expect("on Kubernetes");
    assert_eq!(pods.cpus, "8");
    assert_eq!(
        pods.service_account.as_deref(),
        Some("lance-backfill-worker")
    );
    assert!(pods.image.contains("@sha256:"), "the default of all");

    let existing = Pool::parse("existing.yaml", EXISTING).expect("a pool");
    assert!(matches!(existing.place, Place::Existing(_)));
    assert!(existing.groups.iter().all(|group| group.pods.is_none()));
    let any = EXISTING.replace("ray_version: 2.60.0 ", "lifetime: on-demand #");
    let any = Pool::parse("existing.yaml", &any).expect("whichever version runs there");
    assert_eq!(any.ray_version, "");
}

#[test]
fn each_mistake_is_told_with_its_place() {
    let long = "a".repeat(54);
    for (from, to, path) in [
        (
            "name: embeddings ",
            "name: Embeddings ",
            "name: 'Embeddings'",
        ),
        (
            "name: embeddings ",
            "name: 1embeddings ",
            "name: '1embeddings'",
        ),
        ("name: embeddings ", &format!("name: {long} "), "at most 53"),
        (
            "namespace: lance-backfill",
            "namespace: lance.backfill",
            "namespace: ",
        ),
        ("s3://lake/backfill ", "lake/backfill ", "service: "),
        (
            "ray_version: 2.60.0",
            "ray_version: 2.60",
            "ray_version: '2.6' is no version",
        ),
        (
            "ray_version: 2.60.0",
            "ray_version: 2.51.1",
            "Ray knows tokens since 2.52.0",
        ),
        ("auth: token", "auth: tokens", "auth: 'tokens'"),
        (
            "lifetime: persistent",
            "lifetime: never",
            "lifetime: 'never'",
        ),
        (
            "waiting_for_node: 30m",
            "waiting_for_node: soon",
            "waiting_for_node: 'soon'",
        ),
        ("cpus: 2\n", "cpus: two\n", "head_group.cpus: 'two'"),
        (
            "memory: 16Gi",
            "memory: 16GB",
            "worker_groups[0].memory: '16GB'",
        ),
        ("class: a10g  ", "", "worker_groups[0].class: is missing"),
        (
            "- name: cpus",
            "- name: a10g",
            "worker_groups[1].name: there is another",
        ),
        (
            "- name: cpus",
            "- name: headgroup",
            "worker_groups[1].name: 'headgroup'",
        ),
        (
            "class: ray-cpu",
            "class: a10g",
            "worker_groups[1].class: another group",
        ),
        (
            "class: ray-cpu",
            "class: l4",
            "worker_groups[1].gpus: class 'l4' needs",
        ),
        ("gpus: 1 ", "gpus: 0.5 ", "share it by 'workers_per_gpu'"),
        ("workers_per_gpu: 1", "workers_per_gpu: 0.5", "are 2"),
        (
            "min: 0",
            "min: 5",
            "worker_groups[0].max: is 4, and min is 5",
        ),
        ("max: 10", "max: -1", "worker_groups[1].max: '-1'"),
        ("batch_s: 20", "batch_s: 0", "worker_groups[0].batch_s: '0'"),
        (
            "grace_s: 150",
            "grace_s: long",
            "worker_groups[0].grace_s: 'long'",
        ),
        (
            "operator: Exists",
            "operator: Is",
            "tolerations[0].operator: 'Is'",
        ),
        (
            "effect: NoSchedule",
            "effect: Never",
            "tolerations[0].effect: 'Never'",
        ),
        ("{AWS_REGION:", "{RAY_ADDRESS:", "env: RAY_ADDRESS is set"),
        ("{AWS_REGION:", "{AWS REGION:", "'AWS REGION' is no name"),
        (
            "labels: {team: search}",
            "labels: {ray.io/group: x}",
            "labels: 'ray.io/group' is set",
        ),
        (
            "labels: {team: search}",
            "labels: {team: a b}",
            "labels: 'a b' is no value",
        ),
        (
            "secret: embeddings-api",
            "secret: Embeddings",
            "secrets_env: API_KEY",
        ),
        (
            "priority_class: batch",
            "priority_class: Batch!",
            "priority_class: 'Batch!'",
        ),
    ] {
        let line = refused(&[(from, to)]);
        assert!(line.contains(path), "'{to}' gave: {line}");
    }
}

#[test]
fn all_mistakes_are_told_at_once() {
    let line = refused(&[
        ("name: embeddings ", "name: Embeddings "),
        ("auth: token", "auth: open"),
        ("min: 0", "min: 9"),
        ("max: 10", ""),
    ]);
    for told in [
        "name: ",
        "auth: ",
        "worker_groups[0].max",
        "worker_groups[1].max: is missing",
    ] {
        assert!(line.contains(told), "{line}");
    }
}

#[test]
fn what_nobody_knows_is_refused() {
    for (from, to, word) in [
        ("auth: token", "authentication: token", "authentication"),
        ("cool_down_s", "cooldown_s", "cooldown_s"),
        ("head_group:", "head:", "head"),
    ] {
        let line = refused(&[(from, to)]);
        assert!(
            line.starts_with("pool.yaml is no pool file") && line.contains(word),
            "{line}"
        );
    }
}

#[test]
fn a_cluster_that_is_there_takes_no_fields_of_pods() {
    let with = |line: &str| format!("{EXISTING}{line}\n");
    for (text, path) in [
        (with("image: x"), "image: means nothing"),
        (with("auth: token"), "auth: means nothing"),
        (with("    max: 3"), "worker_groups[0].max: means nothing"),
        (
            EXISTING.replace("address: http://127.0.0.1:8265", ""),
            "existing.address: is missing",
        ),
        (
            EXISTING.replace("http://", "ray://"),
            "existing.address: 'ray://",
        ),
        (EXISTING.replace("    cpus: 2", ""), "worker_groups[0].cpus"),
    ] {
        let line = Pool::parse("p", &text).expect_err(&text).one_line();
        assert!(line.contains(path), "{line}");
    }
}

#[test]
fn a_group_is_found_or_the_others_are_named() {
    let pool = sample(&[]).expect("a pool");
    assert!(pool.group("cpus").is_ok());
    let line = pool.group("h100").expect_err("none").one_line();
    assert_eq!(
        line,
        "pool 'embeddings' has no group 'h100': it has a10g, cpus"
    );
}
