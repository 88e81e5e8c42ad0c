//! KubeRay, as far as pods come and go: as its source does it, with autoscaling off.

use serde_json::{Value, json};

use super::api::{CLUSTERS, FakeApi, PODS};
use super::{START_MS, time};

pub(crate) struct Operator<'a> {
    pub(crate) api: &'a FakeApi,
    made: u32,
    /// Pods that it deleted without being told which.
    pub(crate) at_random: Vec<String>,
    /// Whether new pods get a node.
    pub(crate) has_nodes: bool,
}

impl<'a> Operator<'a> {
    pub(crate) fn new(api: &'a FakeApi) -> Self {
        Self {
            api,
            made: 0,
            at_random: vec![],
            has_nodes: true,
        }
    }

    /// What it does when it sees a change.
    pub(crate) fn reconcile(&mut self) {
        let Some(cluster) = self.api.get(&format!("{CLUSTERS}/embeddings")) else {
            for pod in self.api.list(PODS) {
                self.api.remove(&path(&name(&pod)));
            }
            return;
        };
        let spec = &cluster["spec"];
        if !self.pods("headgroup").iter().any(|_| true) {
            self.make(
                "embeddings-head",
                "headgroup",
                "head",
                &spec["headGroupSpec"]["template"],
            );
        }
        for group in spec["workerGroupSpecs"].as_array().expect("groups") {
            self.reconcile_group(group);
        }
        let generation = cluster["metadata"]["generation"].clone();
        self.api.edit(&format!("{CLUSTERS}/embeddings"), |cluster| {
            cluster["status"] = json!({
                "observedGeneration": generation,
                "head": {"serviceName": "embeddings-head-svc", "podName": "embeddings-head"},
                "conditions": [
                    condition("HeadPodReady", "True"),
                    condition("RayClusterProvisioned", "True"),
                ],
            });
        });
    }

    fn reconcile_group(&mut self, group: &Value) {
        let group_name = group["groupName"].as_str().expect("a name");
        let named: Vec<String> =
            serde_json::from_value(group["scaleStrategy"]["workersToDelete"].clone())
                .unwrap_or_default();
        for name in &named {
            self.end(name);
        }
        // Pods that are ending count, unless they are named.
        let mut running: Vec<String> = (self.pods(group_name).iter().map(name))
            .filter(|name| !named.contains(name))
            .collect();
        let bound = |field: &str| group[field].as_u64().unwrap_or_default();
        let wanted = bound("replicas").clamp(bound("minReplicas"), bound("maxReplicas")) as usize;
        while running.len() > wanted {
            let first = running.remove(0);
            self.end(&first);
            self.at_random.push(first);
        }
        for _ in running.len()..wanted {
            self.made += 1;
            let name = format!("embeddings-{group_name}-worker-{:03}", self.made);
            self.make(&name, group_name, "worker", &group["template"]);
        }
    }

    /// The time that a pod may take to end is over, or its hook is.
    pub(crate) fn finish(&self, name: &str) {
        self.api.remove(&path(name));
    }

    pub(crate) fn finish_all(&self) {
        for pod in self.api.list(PODS) {
            if pod["metadata"]["deletionTimestamp"].is_string() {
                self.finish(&name(&pod));
            }
        }
    }

    pub(crate) fn pods(&self, group: &str) -> Vec<Value> {
        let pods = self.api.list(PODS).into_iter();
        pods.filter(|pod| pod["metadata"]["labels"]["ray.io/group"] == group)
            .collect()
    }

    /// Names of pods that are not ending.
    pub(crate) fn names(&self, group: &str) -> Vec<String> {
        let pods = self.pods(group);
        let staying = pods
            .iter()
            .filter(|pod| !pod["metadata"]["deletionTimestamp"].is_string());
        staying.map(name).collect()
    }

    fn end(&self, name: &str) {
        if self.api.get(&path(name)).is_some() {
            self.api.edit(&path(name), |pod| {
                pod["metadata"]["deletionTimestamp"] = json!(time(START_MS))
            });
        }
    }

    fn make(&self, name: &str, group: &str, kind: &str, template: &Value) {
        let mut labels = template["metadata"]["labels"].clone();
        labels["ray.io/cluster"] = json!("embeddings");
        labels["ray.io/group"] = json!(group);
        labels["ray.io/node-type"] = json!(kind);
        let (ready, scheduled, phase) = match self.has_nodes || kind == "head" {
            true => ("True", "True", "Running"),
            false => ("False", "False", "Pending"),
        };
        let mut scheduled = condition("PodScheduled", scheduled);
        scheduled["reason"] = json!("Unschedulable");
        scheduled["message"] = json!("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.");
        self.api.put(&path(name), json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": name, "namespace": "lance-backfill", "labels": labels, "creationTimestamp": time(START_MS)},
            "spec": template["spec"],
            "status": {"phase": phase, "conditions": [condition("Ready", ready), scheduled]},
        }));
    }
}

fn path(name: &str) -> String {
    format!("{PODS}/{name}")
}

fn name(pod: &Value) -> String {
    pod["metadata"]["name"].as_str().expect("a name").to_owned()
}

pub(crate) fn condition(kind: &str, status: &str) -> Value {
    json!({"type": kind, "status": status, "reason": "Test", "message": "", "lastTransitionTime": time(START_MS)})
}
