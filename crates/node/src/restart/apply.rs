//! The host process: it applies an order by a transaction.

use image_swap_core::{
    control::effective::Origin,
    declaration::Declaration,
    status::{RestartOrder, RestartOutcome, RestartResult},
};

use crate::{
    condition::PlanRefusal,
    desired::{ConfigForm, DesiredConfig, RestartPolicy},
    host::Host,
    observe::{HostObservation, mounted, observe, tokens::RegistryProbe},
    observed::ObservedHost,
    plan::{HostPlan, PlanOutcome, builder::restore},
    restart::{
        cgroup,
        directory::{RestartDirectory, RestartDirectoryError},
    },
    runtime::{kind::ContainerRuntime, plan},
    transaction::{
        Progress, RestartSettings,
        apply::{ApplyOutcome, HostSession},
        error::{ApplyError, ApplyFailure, FinalState},
    },
    verify::check::check,
};

/// Outcome and message of an order.
type Finding = (RestartOutcome, String);

/// Applies the order `number` of `host`, and writes its result. `command` restarts the runtime;
/// `None` for that of systemd.
///
/// The process waits for another one with the same order. If that has completed the order, its
/// result is returned.
///
/// # Errors
/// If the directory of the order cannot be locked, or the result cannot be written.
pub fn restart_host(
    host: &Host,
    number: u64,
    command: Option<String>,
    progress: Progress<'_>,
) -> Result<RestartResult, RestartDirectoryError> {
    let directory = RestartDirectory::new(host);
    let lock = directory.lock()?;
    let known = directory.result(number).ok().flatten();
    let result = match known {
        Some(known) => known,
        None => complete(directory, host, number, command, progress)?,
    };
    directory.remove_program()?;
    cgroup::remove();
    drop(lock);
    Ok(result)
}

/// Applies the order, and writes the result while the host is still locked: an agent that waits
/// for the lock then reads both.
fn complete(
    directory: RestartDirectory<'_>,
    host: &Host,
    number: u64,
    command: Option<String>,
    progress: Progress<'_>,
) -> Result<RestartResult, RestartDirectoryError> {
    let restarting = RestartSettings { command, image: None };
    let taken = HostSession::take(host, &restarting, progress);
    let (outcome, message) = match &taken {
        // The agent may have withdrawn the order in the meantime.
        Ok(session) => match ordered(directory, number) {
            Ok(order) => apply(session, host, &order, progress).unwrap_or_else(|refused| refused),
            Err(refused) => refused,
        },
        Err(failure) => failed(failure),
    };
    let result = RestartResult { number, outcome, message };
    directory.write_result(&result)?;
    Ok(result)
}

/// Returns the order, which must have this number.
fn ordered(directory: RestartDirectory<'_>, number: u64) -> Result<RestartOrder, Finding> {
    match directory.order() {
        Ok(Some(order)) if order.number == number => Ok(order),
        Ok(Some(order)) => {
            Err(refused(format!("expected the order {number}, found the order {}", order.number)))
        }
        Ok(None) => Err(refused(format!("expected the order {number}, found none"))),
        Err(error) => Err(refused(error.to_string())),
    }
}

/// Plans and applies `order`.
fn apply(
    session: &HostSession<'_>,
    host: &Host,
    order: &RestartOrder,
    progress: Progress<'_>,
) -> Result<Finding, Finding> {
    let runtime: ContainerRuntime = order
        .runtime
        .parse()
        .map_err(|expected: String| refused(format!("runtime of the order: {expected}")))?;
    let effective = order.effective();
    let declaration = effective.declaration();
    if declaration.is_none() && effective.origin != Origin::None {
        return Err(refused("cannot read the declaration of the order".to_owned()));
    }
    let desired = declaration.as_ref().map(|declaration| desired(declaration, order));
    let desired = desired.as_ref();
    let runtime = mounted::corrected(host, runtime);
    let seen = observe(host, Some(runtime), desired, RegistryProbe::Probe, None);
    let mut seen = seen.map_err(|error| refused(error.to_string()))?;
    // An agent orders a restart also if the runtime was started before its configuration changed.
    seen.observed.start = mounted::start_of_runtime(host, &seen.observed);
    if let Some(reason) = stops_containers(&seen.observed) {
        return Err(refused(reason));
    }
    let planned = match desired {
        Some(desired) => plan(desired, &seen.observed),
        None => restore(&seen.observed, RestartPolicy::Allow),
    };
    let plan = planned.map_err(|PlanRefusal { case, found, remedy }| {
        refused(format!("{case}: {found}; {remedy}"))
    })?;
    if let Some(desired) = desired {
        for note in checked(host, desired, &plan, &seen)? {
            progress(&note);
        }
    }
    let applied = session.apply(&plan, &seen).map_err(|failure| failed(&failure))?;
    let message = match applied {
        ApplyOutcome::Nothing => "nothing to change".to_owned(),
        ApplyOutcome::Changed => "the files are changed; no restart was needed".to_owned(),
        ApplyOutcome::Restarted(facts) | ApplyOutcome::Changing(facts) => facts,
    };
    Ok((RestartOutcome::Applied, message))
}

/// Returns the configuration that agents apply, with a restart.
const fn desired<'a>(declaration: &'a Declaration, order: &RestartOrder) -> DesiredConfig<'a> {
    DesiredConfig {
        declaration,
        form: ConfigForm::CertsD,
        fallback: order.fallback,
        restart: RestartPolicy::Allow,
        header_over_http: false,
    }
}

/// Checks the declared registry before a change, and returns notes. The registry of a host in
/// another directory is not checked: that host may have another network.
fn checked(
    host: &Host,
    desired: &DesiredConfig<'_>,
    plan: &HostPlan,
    seen: &HostObservation,
) -> Result<Vec<String>, Finding> {
    if plan.outcome() == PlanOutcome::InPlace || !host.root().is_whole() {
        return Ok(Vec::new());
    }
    check(desired, plan, seen).map_err(|error| refused(error.to_string()))
}

/// Returns the reason why a restart of the runtime would stop its containers; `None` if they run
/// on.
fn stops_containers(observed: &ObservedHost) -> Option<String> {
    const FLAG: &str = "--live-restore";
    const KEY: &str = "live-restore";
    if observed.runtime != ContainerRuntime::Docker {
        return None;
    }
    let is_flag = |word: &String| {
        word.strip_prefix(FLAG).is_some_and(|rest| rest.is_empty() || rest == "=true")
    };
    let has_key = || {
        let file = observed.files.file(&observed.config)?;
        let json: serde_json::Value = serde_json::from_slice(&file.bytes).ok()?;
        json.get(KEY)?.as_bool()
    };
    if observed.arguments.iter().any(is_flag) || has_key() == Some(true) {
        return None;
    }
    let config = &observed.config;
    Some(format!(
        "{KEY}: a restart of docker stops all containers; set `\"{KEY}\": true` in {config} and \
         run `systemctl reload docker`"
    ))
}

fn refused(reason: String) -> Finding {
    (RestartOutcome::Refused, reason)
}

/// Returns the outcome of a plan that was given up.
fn failed(failure: &ApplyFailure) -> Finding {
    let outcome = match (&failure.left, &failure.reason) {
        (FinalState::Differs(_) | FinalState::Broken(_), _) => RestartOutcome::Broken,
        (FinalState::AsItWas, ApplyError::Step(_) | ApplyError::Restart(_)) => {
            RestartOutcome::RolledBack
        }
        (FinalState::AsItWas, _) => RestartOutcome::Refused,
    };
    (outcome, failure.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use image_swap_core::mirror::Fallback;
    use image_swap_testkit::config_with_path;
    use tempfile::TempDir;

    use super::*;
    use crate::host::root::Root;

    /// A host that is a directory, with an order.
    struct OrderedHost {
        root: TempDir,
        host: Host,
    }

    fn order(number: u64, runtime: &str) -> RestartOrder {
        let data = "\"DOMAIN\": \"h.io\", \"BASE_PATH\": \"d\", \"USERNAME\": \"\", \
                    \"PASSWORD\": \"\", \"INSECURE\": \"false\", \"CA_CERT\": \"\", \
                    \"MIRROR_REGISTRIES\": \"docker.io::h.io/d\"";
        RestartOrder {
            number,
            origin: Origin::Chart,
            declaration: format!(r#"{{"type": "Opaque", "stringData": {{{data}}}}}"#),
            fallback: Fallback::Upstream,
            runtime: runtime.into(),
        }
    }

    impl OrderedHost {
        fn new(order: &RestartOrder) -> Self {
            let root = tempfile::tempdir().unwrap();
            let host = Host::new(Root::new(root.path()).unwrap());
            RestartDirectory::new(&host).write_order(order).unwrap();
            Self { root, host }
        }

        fn with(self, path: &str, text: &str) -> Self {
            let place = self.root.path().join(path);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            fs::write(place, text).unwrap();
            self
        }

        /// Runs the host process for the order 7. It must write the result that it returns.
        fn restart(&self) -> (RestartOutcome, String) {
            let directory = RestartDirectory::new(&self.host);
            directory.install().unwrap();
            let result = restart_host(&self.host, 7, Some("exit 1".into()), &|_| {}).unwrap();
            assert_eq!(directory.result(7).unwrap(), Some(result.clone()));
            let names = fs::read_dir(self.root.path().join("var/lib/image-swap/restart")).unwrap();
            let names: Vec<_> = names.map(|name| name.unwrap().file_name()).collect();
            assert!(!names.contains(&"image-swap".into()), "{names:?}");
            assert!(!directory.is_locked());
            (result.outcome, result.message)
        }
    }

    fn containerd(order: &RestartOrder) -> OrderedHost {
        let config = config_with_path("/etc/containerd/certs.d");
        OrderedHost::new(order).with("etc/containerd/config.toml", &config)
    }

    #[test]
    fn order_without_a_restart_is_applied() {
        let host = containerd(&order(7, "containerd"));
        let (outcome, message) = host.restart();
        assert_eq!(outcome, RestartOutcome::Applied, "{message}");
        let hosts = host.root.path().join("etc/containerd/certs.d/docker.io/hosts.toml");
        assert!(fs::read_to_string(&hosts).unwrap().contains("h.io"));

        // A second process returns the result of the first.
        fs::remove_file(&hosts).unwrap();
        assert_eq!(host.restart().0, RestartOutcome::Applied);
        assert!(!hosts.exists());
        RestartDirectory::new(&host.host).remove_result().unwrap();
        assert_eq!(host.restart().0, RestartOutcome::Applied);
        assert!(hosts.exists());
    }

    #[test]
    fn absent_declaration_is_restored() {
        let host = containerd(&order(7, "containerd"));
        host.restart();
        let directory = RestartDirectory::new(&host.host);
        directory.remove_result().unwrap();
        let none = RestartOrder {
            origin: Origin::None,
            declaration: String::new(),
            ..order(7, "containerd")
        };
        directory.write_order(&none).unwrap();
        assert_eq!(host.restart().0, RestartOutcome::Applied);
        assert!(!host.root.path().join("etc/containerd/certs.d/docker.io").exists());
    }

    #[test]
    fn unusable_order_is_refused() {
        let unreadable = RestartOrder { declaration: "s3cret".into(), ..order(7, "containerd") };
        for (order, expected) in [
            (order(8, "containerd"), "found the order 8"),
            (order(7, "rkt"), "runtime of the order: expected one of"),
            (unreadable, "cannot read the declaration"),
        ] {
            let host = containerd(&order);
            let (outcome, message) = host.restart();
            assert_eq!(outcome, RestartOutcome::Refused, "{message}");
            assert!(message.contains(expected) && !message.contains("s3cret"), "{message}");
            assert!(!host.root.path().join("etc/containerd/certs.d").exists());
        }
        let host = containerd(&order(7, "containerd"));
        fs::remove_file(host.root.path().join("var/lib/image-swap/restart/order.json")).unwrap();
        let (outcome, message) = host.restart();
        assert_eq!(outcome, RestartOutcome::Refused);
        assert!(message.contains("found none"), "{message}");
    }

    #[test]
    fn refused_plan_names_its_case() {
        let host = containerd(&order(7, "containerd")).with("etc/containerd/config.toml", "[");
        let (outcome, message) = host.restart();
        assert_eq!(outcome, RestartOutcome::Refused);
        assert!(message.starts_with("unreadable: "), "{message}");
    }

    #[test]
    fn docker_needs_live_restore() {
        let config = "etc/docker/daemon.json";
        for (text, is_refused) in [
            (None, true),
            (Some("{}"), true),
            (Some(r#"{"live-restore": false}"#), true),
            (Some(r#"{"live-restore": true}"#), false),
        ] {
            let host = OrderedHost::new(&order(7, "docker"));
            let host = match text {
                Some(text) => host.with(config, text),
                None => host,
            };
            let seen = {
                let mut seen = ObservedHost::new(ContainerRuntime::Docker, None);
                seen.look(None, |path| host.host.stat(path));
                seen
            };
            assert_eq!(stops_containers(&seen).is_some(), is_refused, "{text:?}");
            if is_refused {
                let (outcome, message) = host.restart();
                assert_eq!(outcome, RestartOutcome::Refused);
                assert!(message.starts_with("live-restore: "), "{message}");
            }
        }
        let mut flagged = ObservedHost::new(ContainerRuntime::Docker, None);
        flagged.arguments = vec!["dockerd".into(), "--live-restore=true".into()];
        assert_eq!(stops_containers(&flagged), None);
        let containerd = ObservedHost::new(ContainerRuntime::Containerd, None);
        assert_eq!(stops_containers(&containerd), None);
    }

    #[test]
    fn cut_off_change_that_cannot_be_rolled_back_is_broken() {
        let host = containerd(&order(7, "containerd"));
        let host = host.with("var/lib/image-swap/node/armed.json", "{}");
        let (outcome, message) = host.restart();
        assert_eq!(outcome, RestartOutcome::Broken);
        assert!(message.contains("armed.json"), "{message}");
    }
}
