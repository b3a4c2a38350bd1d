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

use image_swap_core::rule::Kind;
use image_swap_text::base64;

use crate::{
    condition::{self, Refusal},
    desired::Desired,
    files::{Entry, HostPath},
    ledger::Ledger,
    observed::Observed,
    owner::{self, Owner},
    plan::{Plan, Step},
    runtime::kind::Runtime,
};

/// The functions of one runtime.
struct Module {
    /// Returns the main file that the runtime is configured to read; `None` if nothing names it.
    config: fn(&Observed) -> Option<HostPath>,
    /// Returns the paths that have to be read first.
    unseen: fn(Option<&Desired<'_>>, &Observed) -> Vec<HostPath>,
    plan: fn(&Desired<'_>, &Observed) -> Result<Plan, Refusal>,
}

/// Returns the functions of `runtime`.
const fn module(runtime: Runtime) -> Module {
    match runtime {
        Runtime::Containerd => {
            Module { config: owner::config, unseen: containerd::unseen, plan: containerd::plan }
        }
        Runtime::Crio | Runtime::Podman => {
            Module { config: |_| None, unseen: crio::unseen, plan: crio::plan }
        }
        Runtime::K3s | Runtime::Rke2 => {
            Module { config: k3s::config, unseen: k3s::unseen, plan: k3s::plan }
        }
        Runtime::Docker => {
            Module { config: docker::config, unseen: docker::unseen, plan: docker::plan }
        }
    }
}

/// Returns the paths to read next: a file, a directory, or nothing at all. An observer calls
/// this until it returns none; each answer may lead to further paths (imports of a config.toml,
/// the directories that it names). `desired` is `None` if only a restore is planned.
pub fn needs(desired: Option<&Desired<'_>>, observed: &Observed) -> Vec<HostPath> {
    let mut paths = vec![Ledger::path(), observed.config.clone()];
    paths.extend(Ledger::directories());
    paths.extend(Owner::evidence());
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
    paths.sort();
    paths.dedup();
    paths
}

impl Observed {
    /// Reads all that a plan for `desired` (`None`: a restore) has to know: `read` returns the
    /// entry at a path.
    pub fn look(
        &mut self,
        desired: Option<&Desired<'_>>,
        mut read: impl FnMut(&HostPath) -> Entry,
    ) {
        loop {
            if let Some(config) = (module(self.runtime).config)(self) {
                self.config = config;
            }
            let paths = needs(desired, self);
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

/// Returns the plan that makes a host `desired`.
///
/// # Errors
/// If another tool owns the host, or its configuration is one that cannot be
/// edited without breaking something: see the table in docs/nodes.md.
pub fn plan(desired: &Desired<'_>, observed: &Observed) -> Result<Plan, Refusal> {
    owner::check(observed)?;
    let mut plan = (module(observed.runtime).plan)(desired, observed)?;
    // A rule without a target exempts its images.
    let rules = desired.declaration.rules().rules().iter().enumerate();
    let rules = rules.filter(|(_, it)| it.kind != Kind::Noswap && !it.target.is_empty());
    let is_left = |id| plan.inexpressible.iter().any(|it| it.rule == id);
    let (left, rest): (Vec<_>, Vec<_>) = rules.partition(|(id, _)| is_left(*id));
    // Trust for targets may be all that there is to write.
    let removes = |step: &Step| *step == Step::Remove { path: Ledger::path() };
    let leaves_nothing = match &plan.steps[..] {
        [] => !matches!(observed.ledger(), Ok(Some(_))),
        steps => steps.iter().any(removes),
    };
    let none = rest.is_empty() && leaves_nothing;
    if let Some(first) = plan.inexpressible.first().filter(|_| none) {
        let runtime = observed.runtime;
        let found = format!("{runtime} can express none of {} rules: {}", left.len(), first.why);
        return Err(Refusal::new(&condition::NO_RULE, found));
    }
    plan.secrets.extend(secrets(desired));
    Ok(plan)
}

/// Returns every spelling of the declared credentials.
fn secrets(desired: &Desired<'_>) -> Vec<String> {
    let Some(registry) = &desired.declaration.registry else { return Vec::new() };
    let (username, password) = (registry.username.expose(), registry.password.expose());
    if username.is_empty() {
        return Vec::new();
    }
    let json = |text: &str| serde_json::Value::from(text).to_string().trim_matches('"').to_owned();
    vec![base64::encode([username, ":", password].concat()), json(password), password.to_owned()]
}
