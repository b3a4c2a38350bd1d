//! Cluster API: its real controllers, with machines in memory.

use std::{
    fmt::Write as _,
    fs,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::Value;

use crate::{
    control_plane::{ControlPlane, DEADLINE},
    error::Error,
    http::Client,
    janitor::RunDir,
    parts::Parts,
    port::{Port, loopback},
    process::Process,
    run,
    wait::{Wait, until},
};

/// The controllers, in the order in which they start. A program and its kustomization have the
/// same name.
const CONTROLLERS: [&str; 4] =
    ["core", "kubeadm-bootstrap", "kubeadm-control-plane", "docker-infrastructure"];

/// Kinds of the rendered documents that are stored at once. Webhooks follow when the controllers
/// answer; the processes of the test replace Deployments, accounts and certificates.
const AT_ONCE: [&str; 2] = ["CustomResourceDefinition", "Namespace"];

/// The controllers of Cluster API on the control plane of a management cluster: core, kubeadm
/// bootstrap, kubeadm control plane, and the provider of machines in memory.
///
/// A machine in memory has no kubelet and no container: its controller answers as the API server
/// and etcd of the workload cluster, on a loopback address, and makes a `Node` there.
#[derive(Debug)]
pub struct ClusterApi {
    controllers: Vec<Controller>,
    workloads: Ipv4Addr,
    templates: PathBuf,
    dir: RunDir,
    ports: Vec<Port>,
}

/// A controller with its webhooks.
#[derive(Debug)]
struct Controller {
    process: Process,
    ready: String,
    /// Configurations of webhooks, as YAML.
    webhooks: String,
}

impl ClusterApi {
    /// Installs the CRDs, starts the controllers, and returns when all answer and their webhooks
    /// are in force.
    ///
    /// # Errors
    /// A part is missing, or a controller does not start.
    pub fn start(parts: &Parts, control_plane: &ControlPlane) -> Result<Self, Error> {
        let folder = &parts.cluster_api()?.folder;
        let dir = RunDir::new("cluster-api")?;
        let certificates = dir.make("certificates")?;
        let identity = control_plane.authority().server(&["127.0.0.1", "localhost"])?;
        dir.write("certificates/tls.crt", &identity.certificate)?;
        dir.write("certificates/tls.key", &identity.key)?;
        let kubeconfig = dir.write("kubeconfig", control_plane.administrator_kubeconfig()?)?;
        let authority = BASE64_STANDARD.encode(control_plane.authority().certificate());
        let mut all = Self {
            controllers: Vec::new(),
            workloads: loopback(),
            templates: folder.join("templates"),
            dir,
            ports: Vec::new(),
        };
        let mut definitions = String::new();
        for name in CONTROLLERS {
            let [webhook, health, diagnostics] = [all.reserve()?, all.reserve()?, all.reserve()?];
            let rendered = render(control_plane, &folder.join("config").join(name))?;
            let host = format!("https://127.0.0.1:{webhook}");
            definitions += &redirect(&only(&rendered, &AT_ONCE), &host, &authority);
            let webhooks = only(
                &rendered,
                &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
            );
            let log = all.dir.path().join(format!("{name}.log"));
            let process = Process::new(name, folder.join(name), log)
                .arguments([
                    format!("--webhook-port={webhook}"),
                    format!("--webhook-cert-dir={}", certificates.display()),
                    format!("--health-addr=127.0.0.1:{health}"),
                    format!("--diagnostics-address=127.0.0.1:{diagnostics}"),
                    "--insecure-diagnostics=true".to_owned(),
                ])
                .arguments(
                    (name != "kubeadm-bootstrap").then_some("--feature-gates=ClusterTopology=true"),
                )
                .variable("KUBECONFIG", &kubeconfig)
                .variable("HOME", all.dir.path())
                // The address at which the control planes of machines in memory listen.
                .variable("POD_IP", all.workloads.to_string())
                .variable("POD_NAMESPACE", "default")
                .variable("POD_NAME", name)
                .variable("POD_UID", name);
            let ready = format!("http://127.0.0.1:{health}/readyz");
            let webhooks = redirect(&webhooks, &host, &authority);
            all.controllers.push(Controller { process, ready, webhooks });
        }
        apply(control_plane, &definitions)?;
        established(control_plane)?;
        all.wait_ready(control_plane)?;
        Ok(all)
    }

    /// Starts the controllers that do not run, and returns when all answer and their webhooks are
    /// in force.
    ///
    /// # Errors
    /// A controller ended unexpectedly, or does not answer in time.
    pub fn wait_ready(&mut self, control_plane: &ControlPlane) -> Result<(), Error> {
        self.controllers.iter_mut().try_for_each(|controller| controller.process.start())?;
        let client = Client::default();
        for Controller { process, ready, .. } in &mut self.controllers {
            until(&format!("{} at {ready}", process.name()), DEADLINE, || {
                process.check()?;
                match client.request("GET", ready, None) {
                    Ok(answer) if answer.status == 200 => Ok(()),
                    Ok(answer) => Err(Wait::NotYet(answer.body)),
                    Err(error) => Err(Wait::NotYet(error.to_string())),
                }
            })?;
        }
        let webhooks = self.controllers.iter().map(|controller| controller.webhooks.as_str());
        apply(control_plane, &webhooks.collect::<String>())
    }

    /// Stops the controllers; their webhooks then refuse requests.
    /// [`wait_ready`](Self::wait_ready) starts them again.
    ///
    /// # Errors
    /// A controller cannot be stopped.
    pub fn stop(&mut self) -> Result<(), Error> {
        self.controllers.iter_mut().try_for_each(|controller| controller.process.stop())
    }

    /// Returns a manifest that upstream publishes for machines in memory, by file name. Callers
    /// replace its variables (`${CLUSTER_NAME}`).
    ///
    /// # Errors
    /// There is no such manifest.
    pub fn template(&self, name: &str) -> Result<String, Error> {
        let path = self.templates.join(name);
        fs::read_to_string(&path).map_err(Error::io(format!("read {}", path.display())))
    }

    /// Returns the processes of the controllers, by the names of [`Process::name`]: `core`,
    /// `kubeadm-bootstrap`, `kubeadm-control-plane`, `docker-infrastructure`.
    pub fn processes(&mut self) -> impl Iterator<Item = &mut Process> {
        self.controllers.iter_mut().map(|controller| &mut controller.process)
    }

    /// Returns the address at which the API servers of workload clusters in memory listen.
    pub const fn workload_address(&self) -> Ipv4Addr {
        self.workloads
    }

    fn reserve(&mut self) -> Result<u16, Error> {
        let port = Port::reserve()?;
        let number = port.number();
        self.ports.push(port);
        Ok(number)
    }
}

/// Renders the kustomization `default` of a provider.
fn render(control_plane: &ControlPlane, config: &Path) -> Result<String, Error> {
    run::output(control_plane.kubectl().arg("kustomize").arg(config.join("default")))
}

/// Stores YAML documents. Server-side apply keeps no copy of a large CRD in an annotation.
fn apply(control_plane: &ControlPlane, documents: &str) -> Result<(), Error> {
    let mut command = control_plane.kubectl();
    command.args(["apply", "--server-side", "--force-conflicts", "--filename=-"]);
    feed(&mut command, documents)
}

/// Waits until the API server serves every CRD.
fn established(control_plane: &ControlPlane) -> Result<(), Error> {
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    until("the CRDs of Cluster API", DEADLINE, || {
        let list = control_plane.get(path)?.unwrap_or_default();
        let is_established = |item: &Value| {
            let conditions = item["status"]["conditions"].as_array();
            conditions.into_iter().flatten().any(|condition| {
                condition["type"] == "Established" && condition["status"] == "True"
            })
        };
        let items = list["items"].as_array();
        match items.into_iter().flatten().find(|item| !is_established(item)) {
            Some(item) => Err(Wait::NotYet(item["metadata"]["name"].to_string())),
            None => Ok(()),
        }
    })
}

/// Runs a command with `input` as its standard input.
fn feed(command: &mut Command, input: &str) -> Result<(), Error> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::io("start kubectl"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // If kubectl has ended already, its own message is more precise.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(Error::io("wait for kubectl"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(Error::Command {
        command: "kubectl apply".into(),
        status: output.status,
        output: run::tail(&String::from_utf8_lossy(&output.stderr)),
    })
}

/// Returns the documents of the kinds `kinds`, each with its separator.
fn only(documents: &str, kinds: &[&str]) -> String {
    let is_wanted = |document: &&str| {
        let kind = document.lines().find_map(|line| line.strip_prefix("kind: "));
        kind.is_some_and(|kind| kinds.contains(&kind))
    };
    let wanted = documents.split("\n---\n").filter(is_wanted);
    wanted.map(|document| format!("---\n{}\n", document.trim_end())).collect()
}

/// Replaces the Service in every `clientConfig` by an URL of `host` with the Service's path.
///
/// kustomize renders mappings in block style with sorted keys, so a Service is the line
/// `service:` and the deeper lines that follow.
fn redirect(documents: &str, host: &str, authority: &str) -> String {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut result = String::with_capacity(documents.len());
    let mut lines = documents.lines().peekable();
    while let Some(line) = lines.next() {
        result += line;
        result.push('\n');
        if line.trim() != "clientConfig:" {
            continue;
        }
        let Some(service) = lines.next_if(|next| next.trim() == "service:") else { continue };
        let indent = " ".repeat(depth(service));
        let mut path = "";
        while let Some(field) = lines.next_if(|next| depth(next) > indent.len()) {
            path = field.trim().strip_prefix("path: ").unwrap_or(path);
        }
        let _ = writeln!(result, "{indent}caBundle: {authority}\n{indent}url: {host}{path}");
    }
    result
}

#[cfg(test)]
mod tests {
    use super::{only, redirect};

    const RENDERED: &str = "\
kind: Service
metadata:
  name: webhook
---
kind: MutatingWebhookConfiguration
webhooks:
- admissionReviewVersions:
  - v1
  clientConfig:
    service:
      name: webhook
      namespace: system
      path: /mutate
  failurePolicy: Fail
";

    #[test]
    fn webhook_is_called_by_its_url() {
        let documents = only(RENDERED, &["MutatingWebhookConfiguration"]);
        let expected = "\
---
kind: MutatingWebhookConfiguration
webhooks:
- admissionReviewVersions:
  - v1
  clientConfig:
    caBundle: QQ==
    url: https://127.0.0.1:9443/mutate
  failurePolicy: Fail
";
        assert_eq!(redirect(&documents, "https://127.0.0.1:9443", "QQ=="), expected);
    }

    #[test]
    fn property_called_service_is_kept() {
        let schema = "properties:\n  service:\n    type: object\n";
        assert_eq!(redirect(schema, "https://host", ""), schema);
    }
}
