//! The objects of the chart, rendered by Helm itself and stored as they are;
//! clients that may do what the release's service accounts may; and what the
//! API server wrote down about them.

use std::{collections::BTreeSet, fs, io::Write, path::Path, process::Stdio, sync::LazyLock};

use chart_tests::{Helm, Release, Rendered};
use image_swap_testbed::{Options, RunDir};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::stage::{NAMESPACE, Stage};

/// Everything that is asked, once it is answered; a watch when it begins.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{ "level": "Metadata" }]
}"#;

static HELM: LazyLock<Helm> = LazyLock::new(|| Helm::find().unwrap());

/// A cluster with the chart's objects in it.
pub(crate) struct Installed {
    pub(crate) stage: Stage,
    pub(crate) rendered: Rendered,
    files: RunDir,
}

/// One of the release's service accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Controller,
    Admission,
}

/// A permission that was used: by whom, to do what, to what.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Used {
    pub(crate) verb: String,
    pub(crate) group: String,
    pub(crate) resource: String,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

impl Account {
    pub(crate) fn user(self) -> String {
        let name = match self {
            Self::Controller => "image-swap-controller",
            Self::Admission => "image-swap-admission",
        };
        format!("system:serviceaccount:{NAMESPACE}:{name}")
    }
}

impl Installed {
    /// Starts a control plane with the objects that the chart renders from `values`.
    pub(crate) async fn with(values: &str) -> Self {
        let rendered = tokio::task::block_in_place(|| render(values));
        let files = RunDir::new("audit").unwrap();
        let policy = files.write("policy.json", AUDIT).unwrap();
        let options = Options {
            api_server_flags: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", files.path().join("log").display()),
            ],
            ..Options::default()
        };
        let stage = Stage::bare(&options).await;
        // A hook is no part of what is installed.
        let is_hook = |it: &Value| it["metadata"]["annotations"].get("helm.sh/hook").is_some();
        let items: Vec<&Value> = rendered.objects.values().filter(|it| !is_hook(it)).collect();
        create(&stage, &json!({ "apiVersion": "v1", "kind": "List", "items": items }));
        Self { stage, rendered, files }
    }

    /// A client that is `account` as far as the API server is concerned.
    pub(crate) async fn client_as(&self, account: Account) -> Client {
        let mut file = Kubeconfig::read_from(self.stage.control_plane.kubeconfig()).unwrap();
        for named in &mut file.auth_infos {
            named.auth_info.as_mut().unwrap().impersonate = Some(account.user());
        }
        let options = KubeConfigOptions::default();
        Client::try_from(Config::from_custom_kubeconfig(file, &options).await.unwrap()).unwrap()
    }

    /// All that the API server wrote down.
    pub(crate) fn audit_log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    /// What `account` was allowed and what it was refused, so far.
    pub(crate) fn audited(&self, account: Account) -> (BTreeSet<Used>, Vec<String>) {
        let (mut used, mut refused) = (BTreeSet::new(), Vec::new());
        let log = self.audit_log();
        // The last line may not yet be whole.
        for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            if line["impersonatedUser"]["username"] != account.user() {
                continue;
            }
            let code = line["responseStatus"]["code"].as_u64().unwrap();
            if code == 401 || code == 403 {
                refused.push(format!("{} {}", line["verb"], line["requestURI"]));
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &line["objectRef"];
            let once = Used {
                verb: text(&line["verb"]),
                group: text(&object["apiGroup"]),
                resource: text(&object["resource"]),
                namespace: text(&object["namespace"]),
                name: text(&object["name"]),
            };
            // An apply that makes the object takes the right to create it, too.
            if once.verb == "patch" && code == 201 {
                used.insert(Used { verb: "create".into(), ..once.clone() });
            }
            used.insert(once);
        }
        (used, refused)
    }
}

fn render(values: &str) -> Rendered {
    let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
    let chart = chart.canonicalize().unwrap();
    let values = &[values];
    let release = Release { chart: &chart, name: "image-swap", namespace: NAMESPACE, values };
    HELM.render(release).unwrap()
}

fn create(stage: &Stage, list: &Value) {
    let mut kubectl = stage.control_plane.kubectl();
    let kubectl = kubectl.args(["create", "--filename=-"]).stdin(Stdio::piped());
    tokio::task::block_in_place(|| {
        let mut child = kubectl.stdout(Stdio::null()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(list.to_string().as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "the objects of the chart are refused");
    });
}
