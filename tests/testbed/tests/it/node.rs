//! A node that runs real pods.

use std::{collections::BTreeMap, error::Error, fs, net::TcpListener, path::Path, time::Duration};

use image_swap_testbed::{
    Cluster, ControlPlane, Image, Node, NodeOptions, Product, Wait, is_ready, oci, until,
};
use serde_json::{Value, json};

use crate::{
    Outcome, announce,
    control_plane::{CONFIGURATIONS, assert_dialled, webhook},
    parts, traces,
};

/// The longest time for a pod on a busy machine.
const DEADLINE: Duration = Duration::from_mins(3);

fn pod(name: &str, node: &str, image: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": { "name": name },
        "spec": {
            "nodeName": node,
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "main", "image": image, "imagePullPolicy": "Always" }],
        },
    })
}

/// Waits until a pod is `Ready`.
fn wait_ready(control_plane: &ControlPlane, path: &str) -> Outcome {
    until(&format!("{path} to be Ready"), DEADLINE, || {
        let pod = control_plane.get(path)?.unwrap_or_default();
        if is_ready(&pod) { Ok(()) } else { Err(Wait::NotYet(pod["status"].to_string())) }
    })?;
    Ok(())
}

#[test]
#[ignore = "needs a node: cargo xtask test"]
fn pod_runs_until_the_node_is_gone() -> Outcome {
    let cluster = Cluster::start(parts(), &announce)?;
    let Cluster { mut node, control_plane, registry } = cluster;
    let command = ["sh", "-c", "echo started; sleep inf"];
    let image = Image::busybox(parts().registry()?, "test", &command)?;
    let reference = registry.push("app", "1", &image)?;
    let name = node.name().to_owned();
    control_plane.create_namespace("one")?;
    control_plane.create("/api/v1/namespaces/one/pods", &pod("a", &name, &reference))?;
    let path = "/api/v1/namespaces/one/pods/a";
    wait_ready(&control_plane, path)?;

    let stored = control_plane.get(path)?.unwrap();
    let id = stored["status"]["containerStatuses"][0]["imageID"].to_string();
    assert!(id.contains(&image.digest()), "{id}");
    let pulled = registry.requests()?.into_iter().any(|request| {
        request.agent.starts_with("containerd/") && request.path == "/v2/app/manifests/1"
    });
    assert!(pulled, "containerd asked the registry");
    let log = control_plane.request("GET", &format!("{path}/log"), None)?;
    assert_eq!(log.body, "started\n", "the API server reaches the kubelet");

    let before = node.containerd().pid();
    node.restart_containerd()?;
    assert_ne!(node.containerd().pid(), before, "it is another process");
    node.containerd().kill()?;
    node.kubelet().kill()?;
    node.wait_ready(&control_plane)?;
    wait_ready(&control_plane, path)?;
    let restarts = &control_plane.get(path)?.unwrap()["status"]["containerStatuses"][0];
    assert_eq!(restarts["restartCount"], 0, "containers outlive containerd");

    let dir = node.etc_containerd().parent().unwrap().to_owned();
    node.power_off()?;
    assert_eq!(fs::read_dir(dir.join("run-containerd"))?.count(), 0, "memory is lost");
    node.wait_ready(&control_plane)?;
    until("the pod's next container", DEADLINE, || {
        let pod = control_plane.get(path)?.unwrap_or_default();
        let container = &pod["status"]["containerStatuses"][0];
        let again = container["restartCount"] == 1 && container["ready"] == true;
        if again { Ok(()) } else { Err(Wait::NotYet(pod["status"].to_string())) }
    })?;

    assert_eq!(traces(&name).len(), 4, "a link, two rules, cgroups: {:?}", traces(&name));
    drop(node);
    assert_eq!(traces(&name), Vec::<String>::new());
    assert!(!dir.exists());
    Ok(())
}

#[test]
#[ignore = "needs a node: cargo xtask test"]
fn cluster_schedules_pods_that_reach_services() -> Outcome {
    let cluster = Cluster::start(parts(), &announce)?;
    let control_plane = &cluster.control_plane;
    control_plane.create_namespace("hooked")?;

    // busybox has no TLS that a current API server accepts: a connection is enough.
    // kube-proxy may set its rules after the pod starts.
    let script = "until nc -w 1 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null; \
         do sleep 0.1; done; test -s /var/run/secrets/kubernetes.io/serviceaccount/token \
         && echo reached >/tmp/state; exec httpd -f -p 8080 -h /tmp";
    let image = Image::busybox(parts().registry()?, "server", &["sh", "-c", script])?;
    let reference = cluster.registry.push("server", "1", &image)?;
    let labels = json!({ "app": "server" });
    control_plane.create(
        "/apis/apps/v1/namespaces/hooked/deployments",
        &json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "server" },
            "spec": {
                "replicas": 2,
                "selector": { "matchLabels": labels },
                "template": {
                    "metadata": { "labels": labels },
                    "spec": { "containers": [{
                        "name": "main",
                        "image": reference,
                        "readinessProbe": { "httpGet": { "path": "/state", "port": 8080 }, "periodSeconds": 1 },
                    }] },
                },
            },
        }),
    )?;
    control_plane.create(
        "/api/v1/namespaces/hooked/services",
        &json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "server" },
            "spec": { "selector": labels, "ports": [{ "port": 80, "targetPort": 8080 }] },
        }),
    )?;
    until("both replicas", DEADLINE, || {
        let path = "/apis/apps/v1/namespaces/hooked/deployments/server";
        let status = control_plane.get(path)?.unwrap_or_default()["status"].clone();
        if status["availableReplicas"] == 2 {
            Ok(())
        } else {
            Err(Wait::NotYet(status.to_string()))
        }
    })?;
    until("the Service to have endpoints", DEADLINE, || {
        let path = "/api/v1/namespaces/hooked/services/server:80/proxy/state";
        let answer = control_plane.request("GET", path, None)?;
        if answer.status == 200 && answer.body == "reached\n" {
            return Ok(());
        }
        Err(Wait::NotYet(format!("{} {}", answer.status, answer.body)))
    })?;

    let service = control_plane.get("/api/v1/namespaces/hooked/services/server")?.unwrap();
    let address = service["spec"]["clusterIP"].as_str().unwrap();
    // kube-proxy sets its rules once a second. A packet before them has no answer.
    until("kube-proxy to serve the address", DEADLINE, || {
        let found = fetch(control_plane, "hooked", "deployment/server", address)?;
        if found == "reached\n" { Ok(()) } else { Err(Wait::NotYet(found)) }
    })?;

    // A webhook behind a Service, at the node's address: the API server finds it itself.
    let listener = TcpListener::bind((cluster.node.address(), 0))?;
    let port = listener.local_addr()?.port();
    control_plane.create(
        "/api/v1/namespaces/hooked/services",
        &json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": "hook" },
            "spec": { "ports": [{ "port": 443, "targetPort": port }] },
        }),
    )?;
    let server = (cluster.node.address(), port).into();
    control_plane.set_endpoints("hooked", "hook", "", &[server])?;
    let client = json!({ "service": { "namespace": "hooked", "name": "hook" } });
    control_plane.create(CONFIGURATIONS, &webhook(&client))?;
    assert_dialled(control_plane, listener)
}

/// Fetches `/state` of a server from a pod, and returns the body. Port 80 is the default. A missing
/// connection fails soon, while that of busybox's `wget` lasts two minutes.
fn fetch(
    control_plane: &ControlPlane,
    namespace: &str,
    pod: &str,
    address: &str,
) -> Result<String, Wait> {
    let (host, port) = address.split_once(':').unwrap_or((address, "80"));
    let script = format!("printf 'GET /state HTTP/1.0\\r\\n\\r\\n' | nc -w 2 {host} {port}");
    let mut kubectl = control_plane.kubectl();
    kubectl.args(["--namespace", namespace, "exec", pod, "--", "sh", "-c", &script]);
    let output = kubectl.output().map_err(|error| Wait::NotYet(error.to_string()))?;
    let answer = String::from_utf8_lossy(&output.stdout);
    let body = answer.split_once("\r\n\r\n").filter(|_| answer.contains(" 200 OK\r\n"));
    let error = || String::from_utf8_lossy(&output.stderr);
    body.map(|(_, body)| body.to_owned())
        .ok_or_else(|| Wait::NotYet(format!("{answer}{}", error())))
}

/// Makes an image of busybox in the form of the program's image, with one file of source.
fn product(root: &Path) -> Result<Product, Box<dyn Error>> {
    let busybox = fs::read(&parts().registry()?.busybox)?;
    let mut layer = oci::Tar::default();
    layer.file("busybox", 0o755, &busybox)?;
    let runs = oci::Runs(json!({ "Entrypoint": ["/busybox", "sleep", "inf"] }));
    let none = BTreeMap::new();
    let image = oci::Image::compressed(oci::Platform::here(), &layer.finish()?, runs, &none);
    oci::Layout::new(vec![image], &none).write(&Product::begin(root)?, "1")?;
    fs::write(root.join("Cargo.lock"), "")?;
    fs::write(root.join("program.d"), "program: Cargo.lock\n")?;
    Product::record(root, &root.join("program.d"))?;
    Ok(Product::find(root)?)
}

/// Connects to a pod of each node: from the other node's pod, from the machine, and by a Service.
#[test]
#[ignore = "needs two nodes: cargo xtask test"]
fn nodes_of_two_ages_reach_each_other() -> Outcome {
    let cluster = Cluster::start(parts(), &announce)?;
    let control_plane = &cluster.control_plane;
    announce("starting a node with containerd 1.6");
    let hosts = vec![(Cluster::REGISTRY.to_owned(), cluster.registry.listens().ip())];
    let options = NodeOptions { hosts, containerd: Some("1.6".into()), ..NodeOptions::default() };
    let second = Node::start_in(parts(), control_plane, &options, &[&cluster.node])?;
    second.trust(&cluster.registry)?;
    for (node, version) in [(&cluster.node, "containerd://2.4"), (&second, "containerd://1.6")] {
        let stored = control_plane.get(&format!("/api/v1/nodes/{}", node.name()))?.unwrap();
        let found = stored["status"]["nodeInfo"]["containerRuntimeVersion"].as_str().unwrap();
        assert!(found.starts_with(version), "{found}");
    }

    let script = "until nc -w 1 $KUBERNETES_SERVICE_HOST $KUBERNETES_SERVICE_PORT </dev/null; \
         do sleep 0.1; done; echo $NAME >/tmp/state; exec httpd -f -p 8080 -h /tmp";
    let image = Image::busybox(parts().registry()?, "server", &["sh", "-c", script])?;
    let reference = cluster.registry.push("server", "1", &image)?;
    control_plane.create_namespace("two")?;
    let pods = "/api/v1/namespaces/two/pods";
    let services = "/api/v1/namespaces/two/services";
    let mut addresses = Vec::new();
    for (name, node) in [("current", &cluster.node), ("old", &second)] {
        let mut server = pod(name, node.name(), &reference);
        server["metadata"]["labels"] = json!({ "app": name });
        let container = &mut server["spec"]["containers"][0];
        container["env"] = json!([{ "name": "NAME", "value": name }]);
        container["readinessProbe"] =
            json!({ "httpGet": { "path": "/state", "port": 8080 }, "periodSeconds": 1 });
        control_plane.create(pods, &server)?;
        wait_ready(control_plane, &format!("{pods}/{name}"))?;
        let ip = control_plane.get(&format!("{pods}/{name}"))?.unwrap()["status"]["podIP"].clone();
        let service = json!({
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": { "name": name },
            "spec": { "selector": { "app": name }, "ports": [{ "port": 80, "targetPort": 8080 }] },
        });
        let service = control_plane.create(services, &service)?;
        addresses.push((name, format!("{}:8080", ip.as_str().unwrap())));
        addresses.push((name, service["spec"]["clusterIP"].as_str().unwrap().to_owned()));
    }
    for from in ["current", "old"] {
        for (name, address) in &addresses {
            until(&format!("{from} to reach {name} at {address}"), DEADLINE, || {
                let found = fetch(control_plane, "two", from, address)?;
                if found.trim() == *name { Ok(()) } else { Err(Wait::NotYet(found)) }
            })?;
        }
    }
    announce("the image of a program is loaded into both nodes");
    let folder = tempfile::tempdir()?;
    let product = product(folder.path())?;
    let program = "harbor.example.org/not/pushed:1";
    for (name, node) in [("program-current", &cluster.node), ("program-old", &second)] {
        node.import_product(&product, program)?;
        let mut loaded = pod(name, node.name(), program);
        loaded["spec"]["containers"][0]["imagePullPolicy"] = "IfNotPresent".into();
        control_plane.create(pods, &loaded)?;
        wait_ready(control_plane, &format!("{pods}/{name}"))?;
    }
    announce("a static pod of each node");
    for node in [&cluster.node, &second] {
        let mut manifest = pod("static", node.name(), &reference);
        manifest["metadata"]["namespace"] = "two".into();
        fs::write(node.static_pods().join("static.json"), manifest.to_string())?;
        wait_ready(control_plane, &format!("{pods}/static-{}", node.name()))?;
    }
    announce("the older node is switched off and on");
    let mut second = second;
    second.power_off()?;
    second.wait_ready(control_plane)?;
    let left = second.name().to_owned();
    drop(second);
    assert_eq!(traces(&left), Vec::<String>::new());
    Ok(())
}
