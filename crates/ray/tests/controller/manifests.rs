//! What is applied, against KubeRay's own definitions.

use std::path::Path;
use std::process::{Command, Stdio};

use lance_backfill_ray::manifest::{TEMPLATE, manifest};

use crate::support::pool;

/// Checkers beside the checkout: KubeRay's definitions, and a script that knows no unknown fields.
const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared/data");

#[expect(
    clippy::disallowed_methods,
    clippy::print_stderr,
    reason = "the one place that decides whether skipping is allowed, and says so"
)]
fn skip(why: &str) {
    eprintln!("SKIPPED: {why}");
    assert!(
        std::env::var("CI").is_err(),
        "a case was skipped, which CI=true does not allow: {why}"
    );
}

#[test]
fn the_definitions_of_kuberay_take_each_manifest() {
    let script = Path::new(DATA).join("validate_crs.py");
    if !script.exists() {
        return skip("KubeRay's definitions are not beside the checkout");
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        std::fs::write(&file, text).expect("writes");
        file
    };
    let mut files = vec![];
    for (name, changes) in [
        ("sample.yaml", &[][..]),
        (
            "open.yaml",
            &[
                ("auth: token", "auth: disabled"),
                (
                    "    tolerations:\n      - {key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}\n",
                    "",
                ),
            ],
        ),
        (
            "shared.yaml",
            &[
                ("workers_per_gpu: 1", "workers_per_gpu: 4"),
                ("gpus: 1 ", "gpus: 8 "),
            ],
        ),
    ] {
        let (pool, place) = pool(changes);
        let manifest = manifest(&pool, &place);
        files.push(write(
            name,
            serde_saphyr::to_string(&manifest).expect("YAML"),
        ));
    }
    let check = |files: &[std::path::PathBuf]| {
        let checked = Command::new("python3")
            .arg(&script)
            .arg(Path::new(DATA).join("kuberay-crds"))
            .args(files)
            .output()
            .expect("python3 starts");
        (
            checked.status.success(),
            format!(
                "{}{}",
                String::from_utf8_lossy(&checked.stdout),
                String::from_utf8_lossy(&checked.stderr)
            ),
        )
    };
    let (is_good, said) = check(&files);
    if said.contains("ModuleNotFoundError") {
        return skip("python3 has no yaml or jsonschema");
    }
    assert!(is_good && said.contains("3 documents, 0 errors"), "{said}");
    // It would notice.
    let spoilt = std::fs::read_to_string(&files[0])
        .expect("reads")
        .replace("rayStartParams", "rayStartParameters");
    let (is_good, said) = check(&[write("spoilt.yaml", spoilt)]);
    assert!(!is_good && said.contains("rayStartParameters"), "{said}");
}

#[test]
fn a_pod_drains_before_it_ends_and_says_which_template_it_is_of() {
    let (pool, place) = pool(&[]);
    let cluster = manifest(&pool, &place);
    assert_eq!(cluster.spec.enable_in_tree_autoscaling, Some(false));
    assert_eq!(
        cluster.spec.head_group_spec.ray_start_params["num-cpus"],
        "0"
    );
    let (_, group) = cluster.group("a10g").expect("a group");
    let template = serde_json::to_value(&group.template).expect("JSON");
    let spec = &template["spec"];
    assert_eq!(spec["terminationGracePeriodSeconds"], 180);
    assert_eq!(spec["volumes"][0]["emptyDir"], serde_json::json!({}));
    let container = &spec["containers"][0];
    let hook = container["lifecycle"]["preStop"]["exec"]["command"][2]
        .as_str()
        .expect("a script");
    assert!(hook.starts_with("touch /run/drain/request\n"));
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "1");
    let names: Vec<&str> = container["env"]
        .as_array()
        .expect("variables")
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    assert_eq!(
        names,
        [
            "AWS_REGION",
            "API_KEY",
            "LANCE_BACKFILL_POD",
            "LANCE_BACKFILL_NODE",
            "LANCE_BACKFILL_DRAIN"
        ]
    );
    let label = &template["metadata"]["labels"][TEMPLATE];
    assert_eq!(label.as_str().map(str::len), Some(8));
    let (other, place) = crate::support::pool(&[("max: 4", "max: 9")]);
    let same = manifest(&other, &place);
    let same =
        serde_json::to_value(&same.group("a10g").expect("a group").1.template).expect("JSON");
    assert_eq!(
        same, template,
        "how many there are is no matter of the template"
    );
}

#[test]
fn the_hook_waits_for_each_worker_that_began() {
    let (pool, place) = pool(&[]);
    let cluster = manifest(&pool, &place);
    let template =
        serde_json::to_value(&cluster.group("a10g").expect("a group").1.template).expect("JSON");
    let hook = template["spec"]["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][2]
        .as_str()
        .expect("a script");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let place = folder.path().to_str().expect("a name");
    let hook = hook.replace("/run/drain", place);
    let file = |name: &str| folder.path().join(name);
    for name in ["worker-a-0", "worker-b-1", "done-b-1"] {
        std::fs::write(file(name), "").expect("writes");
    }
    // One that goes on by itself, after a failure, must not hold our output.
    let mut waiting = Command::new("/bin/sh")
        .args(["-c", &hook])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts");
    while !file("request").exists() {
        assert!(
            waiting.try_wait().expect("asks").is_none(),
            "it asks nobody"
        );
        std::thread::yield_now();
    }
    assert!(
        waiting.try_wait().expect("asks").is_none(),
        "one of them works"
    );
    std::fs::write(file("done-a-0"), "").expect("writes");
    assert!(waiting.wait().expect("ends").success());
}
