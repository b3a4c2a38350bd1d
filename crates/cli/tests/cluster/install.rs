//! The chart, installed by Helm; clients with the permissions of the release's service accounts;
//! and the audit log of the API server.

use std::{collections::BTreeSet, fs, path::PathBuf};

use image_swap_testbed::{HelmMajor, HelmWait, Live, Options, RunDir};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::{Value, json};

use crate::test_cluster::{ANCHORS, NAMESPACE, TestCluster, chart, parts};

/// An audit policy that records each request when it is answered, and each watch when it begins.
const AUDIT: &str = r#"{
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{ "level": "Metadata" }]
}"#;

/// A cluster with the installed chart.
pub(crate) struct Installed {
    pub(crate) cluster: TestCluster,
    files: RunDir,
}

/// One of the release's service accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    Controller,
    Admission,
    Agent,
    /// Service account of the Job that waits for restored nodes during an uninstallation.
    Restore,
    /// Service account of the fleet controller on a management cluster.
    Fleet,
    /// Service account of the Job that lists references to the bootstrap script.
    References,
}

/// The namespace of the agents.
pub(crate) const AGENTS: &str = "image-swap-agent";
/// The namespace of trial pods.
pub(crate) const TRIAL: &str = "image-swap-trial";
/// The namespace of the fleet controller.
pub(crate) const FLEET: &str = "image-swap-fleet";
/// The namespace of restart pods.
pub(crate) const RESTART: &str = "image-swap-restart";

/// A permission that a request used, as the audit log records it.
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
        let (namespace, name) = match self {
            Self::Controller => (NAMESPACE, "image-swap-controller"),
            Self::Admission => (NAMESPACE, "image-swap-admission"),
            Self::Agent => (AGENTS, "image-swap-agent"),
            Self::Restore => (AGENTS, "image-swap-restore"),
            Self::Fleet => (FLEET, "image-swap-fleet"),
            Self::References => (FLEET, "image-swap-references"),
        };
        format!("system:serviceaccount:{namespace}:{name}")
    }
}

impl Installed {
    /// Starts a control plane and installs the chart by Helm 4.
    pub(crate) async fn with(values: &str) -> Self {
        Self::by(HelmMajor::Four, values).await
    }

    /// Starts a control plane and installs the chart by `major`.
    pub(crate) async fn by(major: HelmMajor, values: &str) -> Self {
        Self::with_options(major, values, Options::default()).await
    }

    /// Starts a control plane that deletes namespaces and collects garbage, and installs
    /// the chart by Helm 4.
    pub(crate) async fn managed(values: &str) -> Self {
        Self::managed_by(HelmMajor::Four, values).await
    }

    /// Starts a control plane that deletes namespaces and collects garbage, and installs
    /// the chart by `major`.
    pub(crate) async fn managed_by(major: HelmMajor, values: &str) -> Self {
        let options = Options { controller_manager: true, ..Options::default() };
        Self::with_options(major, values, options).await
    }

    async fn with_options(major: HelmMajor, values: &str, options: Options) -> Self {
        let files = RunDir::new("audit").unwrap();
        let policy = files.write("policy.json", AUDIT).unwrap();
        let options = Options {
            api_server_flags: vec![
                format!("--audit-policy-file={}", policy.display()),
                format!("--audit-log-path={}", files.path().join("log").display()),
            ],
            ..options
        };
        let cluster = TestCluster::bare(&options).await;
        tokio::task::block_in_place(|| install(&cluster, major, values));
        Self { cluster, files }
    }

    /// Returns the Deployment of the controller.
    pub(crate) fn controller(&self) -> Value {
        let deployments = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments");
        self.cluster.get(&format!("{deployments}/image-swap-controller")).unwrap()
    }

    /// Returns the roles of `account`. That of trial pods is absent without agents, that of
    /// restart pods with `agent.restart: never`.
    pub(crate) fn roles(&self, account: Account) -> Vec<Value> {
        let roles =
            |namespace| format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/roles");
        let own = roles(NAMESPACE);
        let (paths, others) = match account {
            Account::Controller => (
                vec![format!("{ANCHORS}/image-swap"), format!("{own}/image-swap-controller")],
                [TRIAL, RESTART].map(|it| format!("{}/{it}", roles(it))).to_vec(),
            ),
            Account::Admission => (vec![format!("{own}/image-swap-admission")], Vec::new()),
            Account::Agent => (
                vec![format!("{ANCHORS}/image-swap-agent"), format!("{own}/image-swap-agent")],
                Vec::new(),
            ),
            Account::Restore => {
                let own = roles(AGENTS);
                let name = "image-swap-restore";
                (vec![format!("{ANCHORS}/{name}"), format!("{own}/{name}")], Vec::new())
            }
            Account::Fleet => {
                let name = "image-swap-fleet";
                let mut paths = vec![format!("{ANCHORS}/{name}"), format!("{own}/{name}")];
                paths.push(format!("{}/{name}", roles(FLEET)));
                (paths, vec![format!("{}/image-swap-clusters", roles("apps"))])
            }
            Account::References => {
                (vec![format!("{}/image-swap-references", roles("apps"))], Vec::new())
            }
        };
        let others = others.iter().filter_map(|path| self.cluster.get(path));
        paths.iter().map(|path| self.cluster.get(path).unwrap()).chain(others).collect()
    }

    /// Returns a client with the permissions of `account`.
    pub(crate) async fn client_as(&self, account: Account) -> Client {
        let mut file = Kubeconfig::read_from(self.cluster.control_plane.kubeconfig()).unwrap();
        for named in &mut file.auth_infos {
            named.auth_info.as_mut().unwrap().impersonate = Some(account.user());
        }
        let options = KubeConfigOptions::default();
        Client::try_from(Config::from_custom_kubeconfig(file, &options).await.unwrap()).unwrap()
    }

    /// Returns a client with a token of the controller's service account.
    pub(crate) async fn client_by_token(&self) -> Client {
        self.client_by_token_of(NAMESPACE, "image-swap-controller", &json!({})).await
    }

    /// Returns a client with the token that the kubelet would mount into `pod` of the agents.
    pub(crate) async fn client_of_agent(&self, pod: &Value) -> Client {
        self.client_by_token_of(AGENTS, "image-swap-agent", &bound_to(pod)).await
    }

    /// Writes a kubeconfig with the token that the kubelet would mount into `pod` of the agents.
    /// Returns its path.
    pub(crate) fn kubeconfig_of_agent(&self, pod: &Value) -> PathBuf {
        let token = self.token(AGENTS, "image-swap-agent", &bound_to(pod));
        let mut file = Kubeconfig::read_from(self.cluster.control_plane.kubeconfig()).unwrap();
        for named in &mut file.auth_infos {
            named.auth_info = serde_json::from_value(json!({ "token": token })).unwrap();
        }
        let name = format!("{}.json", pod["metadata"]["name"].as_str().unwrap());
        self.files.write(&name, serde_json::to_string(&file).unwrap()).unwrap()
    }

    fn token(&self, namespace: &str, account: &str, spec: &Value) -> Value {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec,
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token");
        self.cluster.request("POST", &path, Some(&request))["status"]["token"].clone()
    }

    async fn client_by_token_of(&self, namespace: &str, account: &str, spec: &Value) -> Client {
        let token = self.token(namespace, account, spec);
        let file = Kubeconfig::read_from(self.cluster.control_plane.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = Config::from_custom_kubeconfig(file, &options).await.unwrap();
        config.auth_info = serde_json::from_value(json!({ "token": token })).unwrap();
        Client::try_from(config).unwrap()
    }

    /// Returns the audit log.
    pub(crate) fn audit_log(&self) -> String {
        fs::read_to_string(self.files.path().join("log")).unwrap()
    }

    /// Returns the permissions that `account` has used so far, and its refused requests.
    pub(crate) fn audited(&self, account: Account) -> (BTreeSet<Used>, Vec<String>) {
        let (mut used, mut refused) = (BTreeSet::new(), Vec::new());
        let log = self.audit_log();
        // The last line may be incomplete.
        for line in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
            let actor = match &line["impersonatedUser"] {
                Value::Null => &line["user"],
                impersonated => impersonated,
            };
            if actor["username"] != account.user() {
                continue;
            }
            let code = line["responseStatus"]["code"].as_u64().unwrap();
            if code == 401 || code == 403 {
                refused.push(format!("{} {}", line["verb"], line["requestURI"]));
                continue;
            }
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let object = &line["objectRef"];
            let resource = match object["subresource"].as_str() {
                Some(part) => [object["resource"].as_str().unwrap(), part].join("/"),
                None => text(&object["resource"]),
            };
            let once = Used {
                verb: text(&line["verb"]),
                group: text(&object["apiGroup"]),
                resource,
                namespace: text(&object["namespace"]),
                name: text(&object["name"]),
            };
            // An apply that creates the object requires the permission to create it, too.
            if once.verb == "patch" && code == 201 {
                used.insert(Used { verb: "create".into(), ..once.clone() });
            }
            used.insert(once);
        }
        (used, refused)
    }
}

/// Returns the request for a token that is bound to `pod`.
fn bound_to(pod: &Value) -> Value {
    let metadata = &pod["metadata"];
    json!({ "boundObjectRef": {
        "apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"],
    } })
}

fn install(cluster: &TestCluster, major: HelmMajor, values: &str) {
    let kubeconfig = cluster.control_plane.kubeconfig();
    let helm = Live::new(parts().helm().unwrap(), major, kubeconfig).unwrap();
    let chart = chart();
    helm.upgrade_install(NAMESPACE, "image-swap", &chart, &[values], HelmWait::Hooks).unwrap();
}
