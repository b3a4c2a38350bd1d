//! A release of the chart on a management cluster, whose programs run on this machine.

use std::{env, ffi::OsStr, fs, net::SocketAddr, path::Path, process::Command, time::Duration};

use image_swap_testbed::{
    ControlPlane, HelmMajor, HelmWait, Live, Port, Process, Wait, own_address, until,
};
use tempfile::TempDir;

use crate::management::{DECLARATION, NAMESPACE, output, parts, try_apply};

const DEADLINE: Duration = Duration::from_mins(2);
const RELEASE: &str = "image-swap";
const FLEET: &str = "image-swap-fleet";
const VALUES: &str = "
agent: {enabled: false}
image: {registry: harbor.example.org}
fleet:
  enabled: true
  namespaces: [clusters, remote]
  sources: [cluster-api]
  bootstrap: {enabled: true}
";

/// The release, with the programs of its Deployments.
pub(crate) struct Release<'a> {
    pub(crate) plane: &'a ControlPlane,
    /// Replica of the webhook.
    pub(crate) webhook: Process,
    others: Vec<Process>,
    _folder: TempDir,
    _ports: Vec<Port>,
}

impl<'a> Release<'a> {
    /// Installs the chart with the declaration of the examples, and starts each program with the
    /// arguments and the rights of its Deployment.
    pub(crate) fn install(plane: &'a ControlPlane) -> Self {
        let chart = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../charts/image-swap");
        let helm = Live::new(parts().helm().unwrap(), HelmMajor::Four, plane.kubeconfig()).unwrap();
        helm.upgrade_install(RELEASE, RELEASE, &chart, &[VALUES], HelmWait::Hooks).unwrap();
        let declaration = fs::read_to_string(DECLARATION).unwrap();
        try_apply(plane, &declaration, &["--server-side"]).unwrap();
        // Without a selector only the test decides on the endpoints of the Service.
        let arguments = ["patch", "service", "image-swap-admission", "--namespace", RELEASE];
        let patch = ["--type=merge", r#"--patch={"spec":{"selector":null}}"#];
        output(plane.kubectl().args(arguments).args(patch));

        let (folder, mut ports) = (TempDir::new().unwrap(), Vec::new());
        let mut start = |namespace: &str, component: &str| {
            let [listener, admin] = [(); 2].map(|()| Port::reserve().unwrap());
            let address = SocketAddr::new(own_address().unwrap(), listener.number());
            let account = format!("image-swap-{component}");
            let kubeconfig = folder.path().join(format!("{component}.kubeconfig"));
            let text = plane.token_kubeconfig(namespace, &account, false).unwrap();
            fs::write(&kubeconfig, text).unwrap();
            let log = folder.path().join(format!("{component}.log"));
            let mut arguments = arguments_of(plane, namespace, &account);
            arguments
                .retain(|it| !it.starts_with("--listen=") && !it.starts_with("--admin-listen="));
            if component == "admission" {
                arguments.push(format!("--listen={address}"));
                plane.set_endpoints(RELEASE, &account, "https", &[address]).unwrap();
            }
            arguments.push(format!("--admin-listen=127.0.0.1:{}", admin.number()));
            arguments.push(format!("--kubeconfig={}", kubeconfig.display()));
            ports.extend([listener, admin]);
            let program = env!("CARGO_BIN_EXE_image-swap");
            let mut process = Process::new(component, program, log).arguments(arguments);
            process.start().unwrap();
            process
        };
        let webhook = start(RELEASE, "admission");
        let others = vec![start(RELEASE, "controller"), start(FLEET, "fleet")];
        Self { plane, webhook, others, _folder: folder, _ports: ports }
    }

    /// Waits until a new object of `manifest` has the script.
    pub(crate) fn wait_webhook(&mut self, manifest: &str) {
        until("the script in new objects", DEADLINE, || {
            self.webhook.check()?;
            self.others.iter_mut().try_for_each(Process::check)?;
            let flags = ["--dry-run=server", "--output=json"];
            match try_apply(self.plane, manifest, &flags) {
                Ok(created) if created.contains("image-swap-bootstrap") => Ok(()),
                Ok(other) | Err(other) => Err(Wait::NotYet(other + &self.logs())),
            }
        })
        .unwrap();
    }

    /// Returns all logs.
    pub(crate) fn logs(&self) -> String {
        let log = |it: &Process| {
            let text = fs::read_to_string(it.log()).unwrap_or_default();
            format!("\n--- {}\n{text}", it.name())
        };
        self.others.iter().chain([&self.webhook]).map(log).collect()
    }

    /// Returns the objects that refer to the Secret, as the program lists them.
    pub(crate) fn references(&self) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_image-swap"));
        command.args(["fleet", "references", "--namespaces", NAMESPACE, "--kubeconfig"]);
        output(command.arg(self.plane.kubeconfig()))
    }

    /// Returns the output of the command in docs/bootstrap.md that begins with `start`.
    pub(crate) fn documented(&self, start: &str) -> String {
        let blocks = include_str!("../../../../docs/bootstrap.md").split("```");
        let mut commands = blocks.filter_map(|block| block.strip_prefix("console\n"));
        let command = commands.find(|it| it.starts_with(start)).unwrap();
        let kubectl = self.plane.kubectl();
        let folder = Path::new(kubectl.get_program()).parent().unwrap();
        let path = [folder.as_os_str(), &env::var_os("PATH").unwrap()].join(OsStr::new(":"));
        let mut shell = Command::new("sh");
        for (name, value) in kubectl.get_envs() {
            shell.env(name, value.unwrap());
        }
        output(shell.args(["-c", command]).env("PATH", path))
    }
}

/// Returns the arguments of the container of a Deployment.
fn arguments_of(plane: &ControlPlane, namespace: &str, deployment: &str) -> Vec<String> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}");
    let deployment = plane.get(&path).unwrap().unwrap();
    let arguments = &deployment["spec"]["template"]["spec"]["containers"][0]["args"];
    let arguments = arguments.as_array().unwrap().iter();
    arguments.map(|it| it.as_str().unwrap().to_owned()).collect()
}
