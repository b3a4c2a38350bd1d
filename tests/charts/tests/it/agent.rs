//! The agents of nodes, and the namespace of trial pods.

use serde_json::{Value, json};

use crate::chart::{
    EVERYTHING, Rendered, agents, argument, arguments, chart, charts, deployment, file,
};

/// Returns host path and access of each mount of an agent. Every one is below `/host`.
fn mounts(agent: &Value) -> Vec<(&str, &str)> {
    let pod = &agent["spec"]["template"]["spec"];
    let volumes = pod["volumes"].as_array().unwrap();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    assert_eq!(volumes.len(), mounts.len());
    volumes
        .iter()
        .zip(mounts)
        .map(|(volume, mount)| {
            assert_eq!(volume["name"], mount["name"]);
            assert_eq!(volume["hostPath"]["type"], "DirectoryOrCreate");
            let path = volume["hostPath"]["path"].as_str().unwrap();
            // The agent keeps its state at one path.
            let at = if volume["name"] == "state" { "/var/lib/image-swap" } else { path };
            assert_eq!(mount["mountPath"], format!("/host{at}"));
            (path, if mount["readOnly"] == true { "ro" } else { "rw" })
        })
        .collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agent_mounts_only_directories_of_its_runtime() {
    for chart in charts() {
        let rendered = chart.with("");
        let common = [("/var/lib/image-swap", "rw"), ("/run/systemd/units", "ro")];
        for (runtime, agent) in agents(&rendered) {
            let own = match runtime {
                "containerd" => vec![("/etc/containerd", "ro"), ("/etc/containerd/certs.d", "rw")],
                "crio" => vec![
                    ("/etc/containers", "ro"),
                    ("/etc/containers/registries.conf.d", "rw"),
                    ("/etc/containers/certs.d", "rw"),
                ],
                _ => vec![("/etc/rancher", "ro")],
            };
            assert_eq!(mounts(agent), [&own[..], &common[..]].concat(), "{runtime}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn mounts_follow_the_values() {
    let values = "agent: {hostPaths: {containerdConfig: /opt/c, certsD: /srv/m, state: /opt/s}}";
    let rendered = chart().with(values);
    let [(_, containerd), ..] = agents(&rendered);
    let expected =
        [("/opt/c", "ro"), ("/srv/m", "rw"), ("/opt/s", "rw"), ("/run/systemd/units", "ro")];
    assert_eq!(mounts(containerd), expected);
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agent_is_root_with_two_capabilities() {
    let rendered = chart().with("");
    for (runtime, agent) in agents(&rendered) {
        let pod = &agent["spec"]["template"]["spec"];
        assert_eq!(
            pod["securityContext"],
            json!({
                "runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": false,
                "seccompProfile": { "type": "RuntimeDefault" },
                "seLinuxOptions": { "type": "spc_t" },
            })
        );
        let container = &pod["containers"][0];
        assert_eq!(
            container["securityContext"],
            json!({
                "allowPrivilegeEscalation": false,
                "readOnlyRootFilesystem": true,
                "capabilities": { "drop": ["ALL"], "add": ["CHOWN", "FOWNER"] },
            })
        );
        for key in ["hostPID", "hostIPC", "initContainers"] {
            assert!(pod.get(key).is_none(), "{runtime}: {key}");
        }
        assert!(container.get("ports").is_none());
        assert_eq!(container["resources"]["limits"], json!({ "memory": "64Mi" }));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agent_starts_before_other_pods() {
    let rendered = chart().with("");
    for (_, agent) in agents(&rendered) {
        let pod = &agent["spec"]["template"]["spec"];
        assert_eq!(pod["hostNetwork"], true);
        assert_eq!(pod["dnsPolicy"], "ClusterFirstWithHostNet");
        assert_eq!(pod["priorityClassName"], "system-node-critical");
        assert_eq!(pod["tolerations"], json!([{ "operator": "Exists" }]));
        assert_eq!(pod["terminationGracePeriodSeconds"], 60);
        let env = &pod["containers"][0]["env"];
        let node = json!({ "fieldRef": { "fieldPath": "spec.nodeName" } });
        assert_eq!(*env, json!([{ "name": "NODE_NAME", "valueFrom": node }]));
        assert_eq!(agent["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"], "10%");
    }
    // With another address of the API server, no name of the cluster is needed.
    let rendered = chart().with(EVERYTHING);
    for (_, agent) in agents(&rendered) {
        let pod = &agent["spec"]["template"]["spec"];
        assert_eq!(pod["dnsPolicy"], "Default");
        let env = pod["containers"][0]["env"].as_array().unwrap();
        let [host, port] = [&env[1], &env[2]];
        assert_eq!(*host, json!({ "name": "KUBERNETES_SERVICE_HOST", "value": "10.0.0.1" }));
        assert_eq!(*port, json!({ "name": "KUBERNETES_SERVICE_PORT", "value": "6443" }));
        let names = json!([{ "name": "image-swap-image" }, { "name": "other" }]);
        assert_eq!(pod["imagePullSecrets"], names);
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agent_selects_nodes_labelled_by_the_controller() {
    let rendered = chart().with("{architectures: [arm64], nodeSelector: {pool: tools}}");
    for (runtime, agent) in agents(&rendered) {
        let pod = &agent["spec"]["template"]["spec"];
        let selector = json!({ "kubernetes.io/os": "linux", "image-swap.io/runtime": runtime });
        assert_eq!(pod["nodeSelector"], selector);
        let affinity = &pod["affinity"]["nodeAffinity"];
        let required = &affinity["requiredDuringSchedulingIgnoredDuringExecution"];
        let terms = required["nodeSelectorTerms"].as_array().unwrap();
        assert_eq!(terms.len(), 1, "all of the expressions apply");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let found: Vec<String> = terms[0]["matchExpressions"]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| {
                let [key, operator] = ["key", "operator"].map(|field| text(&it[field]));
                format!("{key} {operator} {}", text(&it["values"][0]))
            })
            .collect();
        let expected = [
            "kubernetes.io/arch In arm64",
            "type NotIn virtual-kubelet",
            "eks.amazonaws.com/compute-type NotIn fargate",
            "liqo.io/type NotIn virtual-node",
        ];
        assert_eq!(found, expected);
    }
}

// guarantee: 4a
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn agent_pods_are_exempt_and_have_their_runtime() {
    let opposite = "podLabels: {image-swap.io/exempt: 'false', team: platform}";
    let rendered = chart().with(opposite);
    for (runtime, agent) in agents(&rendered) {
        let labels = &agent["spec"]["template"]["metadata"]["labels"];
        assert_eq!(labels["image-swap.io/exempt"], "true");
        assert_eq!(labels["app.kubernetes.io/component"], "agent");
        assert_eq!(labels["image-swap.io/runtime"], runtime);
        assert_eq!(labels["team"], "platform");
        assert_eq!(agent["metadata"]["name"], format!("image-swap-agent-{runtime}"));
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_reach_agents_and_controller() {
    let chart = chart();
    let rendered = chart.with("");
    for (runtime, agent) in agents(&rendered) {
        let container = &agent["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"][0], "agent");
        for (name, value) in [
            ("namespace", "somewhere"),
            ("name", "image-swap"),
            ("runtime", runtime),
            ("root", "/host"),
            ("resync", "5m"),
            ("log-level", "info"),
            ("log-format", "json"),
        ] {
            assert_eq!(argument(agent, name), Some(value), "--{name}");
        }
    }
    let values = "agent: {namespace: a, trialNamespace: t, fallback: never, credentials: false, \
                  trialImage: quay.io/x/y:1}";
    let rendered = chart.with(values);
    let controller = deployment(&rendered, "controller");
    for (name, value) in [
        ("agent-namespace", "a"),
        ("trial-namespace", "t"),
        ("agent-fallback", "never"),
        ("agent-credentials", "false"),
        ("trial-image", "quay.io/x/y:1"),
    ] {
        assert_eq!(argument(controller, name), Some(value), "--{name}");
    }
    for (path, name) in [("agent/namespace.yaml", "a"), ("trial/namespace.yaml", "t")] {
        assert_eq!(rendered.objects[path]["metadata"]["name"], name);
    }
}

fn level(namespace: &Value) -> [&str; 3] {
    ["enforce", "warn", "audit"].map(|mode| {
        let label = format!("pod-security.kubernetes.io/{mode}");
        namespace["metadata"]["labels"][label].as_str().unwrap()
    })
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespaces_have_their_pod_security_level() {
    let values = "{label: example.org/swap, agent: {restart: rolling, namespaceLabels: {team: \
                  platform, pod-security.kubernetes.io/enforce: baseline}}}";
    let rendered = chart().with(values);
    let [agents, trial, restart] =
        ["agent", "trial", "restart"].map(|it| &rendered.objects[&format!("{it}/namespace.yaml")]);
    assert_eq!(level(agents), ["privileged"; 3]);
    assert_eq!(level(trial), ["restricted"; 3]);
    assert_eq!(level(restart), ["privileged"; 3]);
    for namespace in [agents, trial, restart] {
        assert_eq!(namespace["metadata"]["labels"]["team"], "platform");
    }
    // No image swapper changes the image of a trial pod or of a restart pod.
    for namespace in [trial, restart] {
        for label in ["example.org/swap", "k8s.twr.io/imageswap"] {
            assert_eq!(namespace["metadata"]["labels"][label], "disabled");
        }
    }
}

/// Returns the paths of all templates that a release without agents does not have.
fn of_agents(rendered: &Rendered) -> Vec<&String> {
    let is_of_agents = |path: &&String| {
        ["agent/", "trial/", "restart/"].iter().any(|folder| path.starts_with(folder))
    };
    rendered.objects.keys().filter(is_of_agents).collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn disabled_agents_leave_nothing() {
    let chart = chart();
    assert_eq!(of_agents(&chart.with(EVERYTHING)).len(), 29);
    let disabled = "agent: {enabled: false, restart: never}";
    let disabled = chart.named("image-swap", &[EVERYTHING, disabled]);
    assert_eq!(of_agents(&disabled), [""; 0]);
    for flag in
        ["agent-namespace", "trial-namespace", "agent-fallback", "trial-image", "restart-namespace"]
    {
        assert_eq!(argument(deployment(&disabled, "controller"), flag), None, "--{flag}");
    }
}

/// Requires the toleration of pods: in a new cluster every node may have the taint.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn startup_taint_is_tolerated_and_limited_by_the_policy() {
    let chart = chart();
    let facts = |values| {
        let rendered = chart.with(values);
        let tolerations = ["admission", "controller"].map(|component| {
            deployment(&rendered, component)["spec"]["template"]["spec"]["tolerations"].clone()
        });
        let flags = arguments(deployment(&rendered, "controller"));
        let policy = rendered.objects.get("agent/nodepolicy.yaml").map(ToString::to_string);
        let adds = policy.is_some_and(|it| it.contains("it.effect == 'NoSchedule'"));
        (tolerations, flags.contains(&"--startup-taint"), adds)
    };
    let own = json!({ "key": "image-swap.io/not-configured", "operator": "Exists" });
    let none = || [Value::Null, Value::Null];
    assert_eq!(facts(""), (none(), false, false));
    let tolerations = json!([own.clone()]);
    let expected = [tolerations.clone(), tolerations];
    assert_eq!(facts("agent: {startupTaint: true}"), (expected, true, true));
    let other = json!({ "key": "dedicated", "operator": "Exists" });
    let both = json!([other, own]);
    let values = "{agent: {startupTaint: true}, tolerations: [{key: dedicated, operator: Exists}]}";
    assert_eq!(facts(values).0, [both.clone(), both]);
    let disabled = "agent: {startupTaint: true, enabled: false}";
    assert_eq!(facts(disabled), (none(), false, false));
}

/// Forbids a request to restore among printed manifests. `helm template` prints hooks too, and
/// `kubectl apply` would send the request to every node.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn printed_manifests_request_no_restore() {
    for chart in charts() {
        let rendered = chart.with("");
        assert!(!rendered.objects.contains_key("agent/restore.yaml"));
        // As an ordinary object the Job would delete the reports of nodes.
        let printed: Vec<_> =
            rendered.objects.keys().filter(|path| path.starts_with("uninstall/")).collect();
        let hooks = ["mark", "nodes", "registration"].map(|it| format!("uninstall/{it}.yaml"));
        assert_eq!(printed, hooks.iter().collect::<Vec<_>>());
        let nodes = &rendered.objects["uninstall/nodes.yaml"];
        assert_eq!(nodes["metadata"]["name"], "image-swap-nodes");
        assert_eq!(nodes["metadata"]["annotations"]["helm.sh/hook"], "post-delete");
        for field in ["data", "stringData"] {
            assert!(nodes.get(field).is_none(), "{field}");
        }
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn policies_name_the_accounts_of_the_release() {
    let chart = chart();
    let rendered = chart.named("tools", &["agent: {namespace: a, trialNamespace: t}"]);
    let controller = "'system:serviceaccount:somewhere:tools-image-swap-controller'";
    let agent = "'system:serviceaccount:a:tools-image-swap-agent'";
    for (path, user) in
        [("agent/policy", agent), ("agent/nodepolicy", controller), ("trial/policy", controller)]
    {
        let policy = &rendered.objects[&format!("{path}.yaml")];
        let binding = &rendered.objects[&format!("{path}binding.yaml")];
        assert_eq!(binding["spec"]["policyName"], policy["metadata"]["name"], "{path}");
        assert_eq!(binding["spec"]["validationActions"], json!(["Deny"]));
        assert_eq!(policy["spec"]["failurePolicy"], "Fail");
        let conditions = policy["spec"]["matchConditions"].as_array().unwrap();
        assert_eq!(conditions.len(), 1);
        let expression = conditions[0]["expression"].as_str().unwrap();
        let expected = if path == "agent/nodepolicy" {
            let restore = "'system:serviceaccount:a:tools-image-swap-restore'";
            format!("request.userInfo.username in [{user}, {restore}]")
        } else {
            format!("request.userInfo.username == {user}")
        };
        assert_eq!(expression, expected, "{path}");
    }
    let selector = &rendered.objects["trial/policy.yaml"]["spec"]["matchConstraints"];
    let selector = &selector["namespaceSelector"]["matchLabels"];
    assert_eq!(*selector, json!({ "kubernetes.io/metadata.name": "t" }));
}

#[test]
fn every_template_of_agents_can_be_disabled() {
    for (folder, condition) in [
        ("agent", ".Values.agent.enabled"),
        ("trial", ".Values.agent.enabled"),
        ("restart", "include \"image-swap.restarts\" ."),
    ] {
        let templates = crate::chart::directory().join("templates").join(folder);
        for entry in std::fs::read_dir(templates).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.starts_with('_') {
                continue;
            }
            let text = file(&format!("templates/{folder}/{name}"));
            assert!(text.contains(condition), "{folder}/{name}");
        }
    }
}
