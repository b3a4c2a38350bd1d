//! The container runtimes: one module for each, behind one dispatch.

mod containerd;
mod crio;
mod docker;
mod glob;
mod k3s;
pub(crate) mod kind;
mod layout;
pub(crate) mod reload;
mod systemd;

use image_swap_core::rule::RuleKind;
use image_swap_text::base64;

use crate::{
    condition::{self, PlanRefusal},
    desired::DesiredConfig,
    files::{HostEntry, HostPath},
    ledger::Ledger,
    observed::ObservedHost,
    owner::{self, HostOwner},
    plan::{HostPlan, PlannedStep},
    runtime::kind::ContainerRuntime,
};

/// The functions of one runtime.
struct Module {
    /// Returns the main file that the runtime is configured to read; `None` if nothing names it.
    config: fn(&ObservedHost) -> Option<HostPath>,
    /// Returns the paths that have to be read first.
    unseen: fn(Option<&DesiredConfig<'_>>, &ObservedHost) -> Vec<HostPath>,
    plan: fn(&DesiredConfig<'_>, &ObservedHost) -> Result<HostPlan, PlanRefusal>,
    /// Returns the files that the runtime reads when it starts.
    at_start: fn(&ObservedHost) -> Vec<HostPath>,
}

/// Returns the functions of `runtime`.
const fn module(runtime: ContainerRuntime) -> Module {
    match runtime {
        ContainerRuntime::Containerd => Module {
            config: owner::config,
            unseen: containerd::unread_paths,
            plan: containerd::plan,
            at_start: containerd::paths_at_start,
        },
        ContainerRuntime::Crio => Module {
            config: |_| None,
            unseen: crio::unread_paths,
            plan: crio::plan,
            at_start: crio::paths_at_start,
        },
        ContainerRuntime::Podman => Module {
            config: |_| None,
            unseen: crio::unread_paths,
            plan: crio::plan,
            at_start: |_| Vec::new(),
        },
        ContainerRuntime::K3s | ContainerRuntime::Rke2 => Module {
            config: k3s::config,
            unseen: k3s::unread_paths,
            plan: k3s::plan,
            at_start: k3s::paths_at_start,
        },
        ContainerRuntime::Docker => Module {
            config: docker::config,
            unseen: docker::unread_paths,
            plan: docker::plan,
            at_start: |observed| vec![observed.config.clone()],
        },
    }
}

/// Returns the paths to read next: a file, a directory, or nothing at all. An observer calls
/// this until it returns none; each answer may lead to further paths (imports of a config.toml,
/// the directories that it names). `desired` is `None` if only a restore is planned.
pub fn required_paths(
    desired: Option<&DesiredConfig<'_>>,
    observed: &ObservedHost,
) -> Vec<HostPath> {
    let mut paths = vec![Ledger::path(), observed.config.clone()];
    paths.extend(Ledger::directories());
    paths.extend(HostOwner::evidence());
    // Files that image-swap wrote are read in any case.
    if let Ok(Some(ledger)) = observed.ledger() {
        paths.extend(ledger.files.into_keys());
        paths.extend(ledger.directories);
    }
    paths.extend((module(observed.runtime).unseen)(desired, observed));
    // Directories that may have to be made.
    let above = |path: &HostPath| std::iter::successors(path.parent(), HostPath::parent);
    paths.extend(paths.clone().iter().flat_map(above));
    paths.retain(|path| observed.files.get(path).is_none());
    paths.sort_unstable();
    paths.dedup();
    paths
}

impl ObservedHost {
    /// Reads all that a plan for `desired` (`None`: a restore) has to know: `read` returns the
    /// entry at a path.
    pub fn look(
        &mut self,
        desired: Option<&DesiredConfig<'_>>,
        mut read: impl FnMut(&HostPath) -> HostEntry,
    ) {
        loop {
            if let Some(config) = (module(self.runtime).config)(self) {
                self.config = config;
            }
            let paths = required_paths(desired, self);
            if paths.is_empty() {
                return;
            }
            for path in paths {
                let entry = read(&path);
                self.files.insert(path, entry);
            }
        }
    }
}

/// Returns the files of `observed` that its runtime reads when it starts, as far as they exist.
pub fn paths_at_start(observed: &ObservedHost) -> Vec<HostPath> {
    let mut paths = (module(observed.runtime).at_start)(observed);
    paths.retain(|path| observed.files.file(path).is_some());
    paths
}

/// Returns the plan that makes a host `desired`.
///
/// # Errors
/// If another tool owns the host, or its configuration is one that cannot be
/// edited without breaking something: see the table in docs/nodes.md.
///
/// # Examples
/// ```
/// use image_swap_core::{
///     declaration::{Declaration, DeclarationSource},
///     mirror::Fallback,
/// };
/// use image_swap_node::{
///     ConfigForm, ContainerRuntime, DesiredConfig, HostEntry, HostFile, HostPath, ObservedHost,
///     PlanOutcome, RestartPolicy, Version, plan,
/// };
///
/// let text = "docker.io::h.io/hub";
/// let declaration = Declaration::read(DeclarationSource::Mirrors, text, 0).unwrap();
/// let desired = DesiredConfig {
///     declaration: &declaration,
///     form: ConfigForm::CertsD,
///     fallback: Fallback::Upstream,
///     restart: RestartPolicy::Never,
///     header_over_http: false,
/// };
/// let config = "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\n\
///               config_path = \"/etc/containerd/certs.d\"\n";
/// let mut observed = ObservedHost::new(ContainerRuntime::Containerd, Version::parse("1.7.24"));
/// observed.look(Some(&desired), |path| match path.as_str() {
///     "/etc/containerd/config.toml" => HostEntry::File(HostFile::public(config)),
///     _ => HostEntry::Absent,
/// });
///
/// let plan = plan(&desired, &observed)?;
/// assert_eq!(plan.outcome(), PlanOutcome::Change);
/// let hosts = HostPath::new("/etc/containerd/certs.d/docker.io/hosts.toml");
/// let written = plan.written(&hosts).unwrap();
/// assert!(String::from_utf8_lossy(&written.bytes).contains("https://h.io/v2/hub"));
/// # Ok::<(), image_swap_node::PlanRefusal>(())
/// ```
pub fn plan(desired: &DesiredConfig<'_>, observed: &ObservedHost) -> Result<HostPlan, PlanRefusal> {
    owner::check(observed)?;
    let mut plan = (module(observed.runtime).plan)(desired, observed)?;
    // A rule without a target exempts its images.
    let rules = desired.declaration.rules().rules().iter().enumerate();
    let rules = rules.filter(|(_, it)| it.kind != RuleKind::Noswap && !it.target.is_empty());
    let is_left = |id| plan.inexpressible.iter().any(|it| it.rule == id);
    let (left, rest): (Vec<_>, Vec<_>) = rules.partition(|(id, _)| is_left(*id));
    // Trust for targets may be all that there is to write.
    let removes = |step: &PlannedStep| *step == PlannedStep::Remove { path: Ledger::path() };
    let leaves_nothing = match &plan.steps[..] {
        [] => !matches!(observed.ledger(), Ok(Some(_))),
        steps => steps.iter().any(removes),
    };
    let none = rest.is_empty() && leaves_nothing;
    if let Some(first) = plan.inexpressible.first().filter(|_| none) {
        let runtime = observed.runtime;
        let found = format!("{runtime} can express none of {} rules: {}", left.len(), first.reason);
        return Err(condition::NO_RULE.refusal(found));
    }
    plan.secrets.extend(secrets(desired));
    Ok(plan)
}

/// Returns every spelling of the declared credentials.
fn secrets(desired: &DesiredConfig<'_>) -> Vec<String> {
    let Some(registry) = &desired.declaration.registry else { return Vec::new() };
    let (username, password) = (registry.username.expose(), registry.password.expose());
    if username.is_empty() {
        return Vec::new();
    }
    let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    vec![base64::encode([username, ":", password].concat()), json(password), password.to_owned()]
}
