//! Values that are refused, and the messages.

use crate::chart::{PAGE, chart, top_level_block};

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn registry_in_two_places_is_rejected() {
    let chart = chart();
    let both = format!("{PAGE}\n{}", top_level_block());
    let message = chart.refuses(&both);
    assert!(message.contains("expected the registry once, found it twice"), "{message}");
    assert!(message.contains("as ociImageRegistry and as config.ociImageRegistry"), "{message}");
    for (values, path) in
        [(PAGE, "config.ociImageRegistry"), (&top_level_block(), "ociImageRegistry")]
    {
        let message = chart.refuses(&format!("{values}\nexistingSecret: mine"));
        let expected = format!("found it twice: as {path} and as existingSecret");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn missing_required_key_is_named() {
    let chart = chart();
    for key in ["endpoint", "name", "baseContentPath", "insecureSkipVerify", "mirrorRegistries"] {
        let found = |line: &&str| line.trim_start().starts_with(&format!("{key}:"));
        assert_eq!(PAGE.lines().filter(found).count(), 1, "{key}");
        let rest: Vec<&str> = PAGE.lines().filter(|line| !found(line)).collect();
        let message = chart.refuses(&rest.join("\n"));
        let expected = format!("at '/config/ociImageRegistry': missing property '{key}'");
        assert!(message.contains(&expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn optional_keys_may_be_missing() {
    let chart = chart();
    for key in ["password", "username", "caCert"] {
        let found = |line: &&str| line.trim_start().starts_with(&format!("{key}:"));
        let rest: Vec<&str> = PAGE.lines().filter(|line| !found(line)).collect();
        assert_eq!(chart.with(&rest.join("\n")).objects, chart.with(PAGE).objects, "{key}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn placeholder_is_named() {
    let chart = chart();
    for (key, placeholder) in [
        ("endpoint", "DOMAIN"),
        ("name", "NAME"),
        ("password", "PASSWORD"),
        ("username", "USERNAME"),
        ("baseContentPath", "BASE_PATH"),
        ("caCert", "CA_CERT"),
        ("mirrorRegistries", "MIRROR_REGISTRIES"),
    ] {
        let values =
            top_level_with(key, &format!("\"REPLACE_WITH_CUSTOM_REGISTRY_{placeholder}\""));
        let message = chart.refuses(&values);
        let expected =
            format!("ociImageRegistry.{key}: expected a value, found a placeholder REPLACE_WITH_…");
        assert!(message.contains(&expected), "{message}");
    }
}

/// Returns the block at top level, with another value for `key`.
fn top_level_with(key: &str, value: &str) -> String {
    let replaced = |line: &str| {
        let is_it = line.trim_start().starts_with(&format!("{key}:"));
        if is_it { format!("  {key}: {value}\n") } else { format!("{line}\n") }
    };
    top_level_block().lines().map(replaced).collect()
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn empty_required_value_is_named() {
    let chart = chart();
    for key in ["endpoint", "mirrorRegistries"] {
        let message = chart.refuses(&top_level_with(key, "' '"));
        let expected = format!("ociImageRegistry.{key}: expected a value, found an empty one");
        assert!(message.contains(&expected), "{message}");
    }
}

// guarantee: 6b
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn endpoint_with_path_is_rejected_without_repeating_it() {
    let chart = chart();
    for endpoint in ["robot:hunter2@harbor.example.org", "https://harbor.example.org/hunter2"] {
        let message = chart.refuses(&top_level_with("endpoint", endpoint));
        assert!(message.contains("ociImageRegistry.endpoint: expected a host"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn invalid_ca_is_rejected_without_repeating_it() {
    let chart = chart();
    let message = chart.refuses(&top_level_with("caCert", "LS0tLS1CRUdJTi"));
    assert!(message.contains("ociImageRegistry.caCert: expected PEM"), "{message}");
    assert!(!message.contains("LS0tLS1CRUdJTi"), "{message}");
}

// guarantee: 6b
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn numeric_password_is_rejected_without_repeating_it() {
    let chart = chart();
    let message = chart.refuses(&top_level_with("password", "0123456"));
    assert!(
        message.contains("at '/ociImageRegistry/password': got number, want null or string"),
        "{message}"
    );
    for form in ["0123456", "123456", "42798"] {
        assert!(!message.contains(form), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn invalid_boolean_is_rejected() {
    let chart = chart();
    let message = chart.refuses(&top_level_with("insecureSkipVerify", "maybe"));
    let expected = "/insecureSkipVerify': value must be one of true, false";
    assert!(message.contains(expected), "{message}");
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn misspelt_key_is_named() {
    let chart = chart();
    for (values, expected) in [
        ("imgae: {}", "at '': additional properties 'imgae' not allowed"),
        ("image: {tagg: x}", "at '/image': additional properties 'tagg' not allowed"),
        ("admission: {replica: 3}", "at '/admission': additional properties 'replica'"),
        ("controller: {replica: 3}", "at '/controller': additional properties 'replica'"),
        ("agent: {enable: false}", "at '/agent': additional properties 'enable' not allowed"),
        ("fleet: {enable: true}", "at '/fleet': additional properties 'enable' not allowed"),
        ("tls: {secret: x}", "at '/tls': additional properties 'secret'"),
        ("log: {levels: x}", "at '/log': additional properties 'levels'"),
        ("networkPolicy: {enable: true}", "at '/networkPolicy': additional properties 'enable'"),
        ("podDisruptionBudget: {on: 1}", "at '/podDisruptionBudget': additional properties"),
        ("serviceMonitor: {on: 1}", "at '/serviceMonitor': additional properties"),
        ("prometheusRule: {on: 1}", "at '/prometheusRule': additional properties"),
        ("dashboard: {on: 1}", "at '/dashboard': additional properties"),
    ] {
        let message = chart.refuses(values);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn value_of_wrong_type_is_named() {
    let chart = chart();
    for (values, expected) in [
        ("policy: Fail", "at '/policy': value must be one of 'fail', 'ignore', 'audit'"),
        ("timeoutSeconds: 31", "at '/timeoutSeconds': maximum: got 31, want 30"),
        ("admission: {replicas: 0}", "at '/admission/replicas': minimum: got 0, want 1"),
        ("admission: {port: 443}", "at '/admission/port': minimum: got 443, want 1,024"),
        ("image: {digest: abc}", "at '/image/digest': 'abc' does not match pattern"),
        ("image: {pullPolicy: always}", "at '/image/pullPolicy': value must be one of 'Always'"),
        ("registryCheckInterval: 5", "at '/registryCheckInterval': got number, want string"),
        ("systemNamespaces: [A_b]", "at '/systemNamespaces/0': 'A_b' does not match pattern"),
        ("image:", "at '': missing property 'image'"),
        ("agent: {fallback: always}", "at '/agent/fallback': value must be one of 'upstream'"),
        (
            "agent: {restart: always}",
            "at '/agent/restart': value must be one of 'never', 'rolling'",
        ),
        ("agent: {maxUnavailable: 0}", "at '/agent/maxUnavailable': minimum: got 0, want 1"),
        ("agent: {maxUnavailable: 50%}", "at '/agent/maxUnavailable': got string, want integer"),
        ("agent: {restartCommand: 'kill $$'}", "at '/agent/restartCommand': 'kill $$' does not"),
        ("agent: {hostPaths: {state: /}}", "at '/agent/hostPaths/state': '/' does not match"),
        ("agent: {hostPaths: {state: /etc/..}}", "at '/agent/hostPaths/state': '/etc/..' does"),
        ("fleet: {sources: [rancher]}", "at '/fleet/sources/0': value must be one of"),
        ("fleet: {sources: []}", "at '/fleet/sources': minItems: got 0, want 1"),
        ("fleet: {waveSize: -1}", "at '/fleet/waveSize': minimum: got -1, want 0"),
        ("fleet: {namespaces: [A_b]}", "at '/fleet/namespaces/0': 'A_b' does not match pattern"),
        (
            "fleet: {credentialProviders: {ocm: exec}}",
            "at '/fleet/credentialProviders/ocm': value must be one of 'secretreader'",
        ),
        ("fleet: {values: {policy: Fail}}", "at '/fleet/values/policy': value must be one of"),
        ("optIn: 'yes'", "at '/optIn': got string, want boolean"),
    ] {
        let message = chart.refuses(values);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn conflicting_ports_are_rejected() {
    let chart = chart();
    let message = chart.refuses("admission: {hostNetwork: true}");
    assert!(message.contains("expected another port than 10250 with hostNetwork"), "{message}");
    let message = chart.refuses("adminPort: 10250");
    assert!(
        message.contains("admission.port, adminPort: expected two different ports"),
        "{message}"
    );
}

/// Covers namespaces that Helm would delete with the release.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn namespace_of_other_objects_is_refused() {
    let chart = chart();
    for values in [
        "{namespace: somewhere}",
        "{namespace: kube-system}",
        "{trialNamespace: jet-system}",
        "{trialNamespace: image-swap-agent}",
        "{restart: rolling, restartNamespace: default}",
        "{restart: rolling, restartNamespace: image-swap-trial}",
    ] {
        let message = chart.refuses(&format!("agent: {values}"));
        let expected = "agent.namespace, agent.trialNamespace, agent.restartNamespace: expected \
                        names of their own";
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn restarts_need_agents_and_their_state_directory() {
    let chart = chart();
    let message = chart.refuses("agent: {enabled: false, restart: rolling}");
    let expected = "agent.restart: expected never while agent.enabled is false, found rolling";
    assert!(message.contains(expected), "{message}");
    let state = "hostPaths: {state: /opt/state}";
    let message = chart.refuses(&format!("agent: {{restart: rolling, {state}}}"));
    let expected = "agent.hostPaths.state: expected /var/lib/image-swap with agent.restart rolling";
    assert!(message.contains(expected), "{message}");
    chart.with(&format!("agent: {{{state}}}"));
}

/// Covers values that would give another program the credentials of all workload clusters.
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn fleet_needs_namespaces_other_than_its_own() {
    let chart = chart();
    for (values, expected) in [
        ("enabled: true", "fleet.namespaces: expected at least one namespace"),
        (
            "enabled: true, namespaces: [image-swap-fleet]",
            "fleet.namespaces: expected no namespace of the fleet controller itself",
        ),
        (
            "enabled: true, namespaces: [clusters, somewhere]",
            "fleet.namespaces: expected no namespace of the release",
        ),
        (
            "enabled: true, namespaces: [jet-system, clusters]",
            "fleet.namespaces: expected no jet-system",
        ),
        (
            "enabled: true, namespaces: [image-swap-trial]",
            "fleet.namespaces: expected no namespace of the agents",
        ),
        (
            "enabled: true, namespace: somewhere, namespaces: [clusters]",
            "fleet.namespace: expected a name of its own, found one that is in use",
        ),
        (
            "enabled: true, namespace: image-swap-agent, namespaces: [clusters]",
            "fleet.namespace: expected a name of its own, found one that is in use",
        ),
    ] {
        let message = chart.refuses(&format!("fleet: {{{values}}}"));
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn values_of_workload_clusters_are_checked() {
    let chart = chart();
    for (values, expected) in [
        ("workloadNamespace: jet-system", "fleet.workloadNamespace: expected a name of its own"),
        ("workloadNamespace: image-swap-agent", "fleet.workloadNamespace: expected a name of its"),
        (
            "values: {agent: {enabled: false, restart: rolling}}",
            "fleet.values.agent.restart: expected never while agent.enabled is false",
        ),
        (
            "values: {agent: {restart: rolling, hostPaths: {state: /opt/state}}}",
            "fleet.values.agent.hostPaths.state: expected /var/lib/image-swap",
        ),
        (
            "values: {agent: {apiServer: {host: 10.0.0.1}}}",
            "fleet.values.agent.apiServer: expected no value, found one",
        ),
        (
            "values: {admission: {hostNetwork: true}}",
            "fleet.values.admission.port: expected another port than 10250 with hostNetwork",
        ),
        (
            "values: {adminPort: 10250}",
            "fleet.values.admission.port, fleet.values.adminPort: expected two different ports",
        ),
    ] {
        let message =
            chart.refuses(&format!("fleet: {{enabled: true, namespaces: [clusters], {values}}}"));
        assert!(message.contains(expected), "{message}");
    }
}

// guarantee: 6b
#[test]
#[ignore = "needs Helm: cargo xtask test"]
fn workload_values_hold_no_declaration() {
    let chart = chart();
    for key in ["config", "ociImageRegistry", "existingSecret", "fleet", "mongo"] {
        let values = format!("{{enabled: true, namespaces: [c], values: {{{key}: {{}}}}}}");
        let message = chart.refuses(&format!("fleet: {values}"));
        let expected = format!("at '/fleet/values': additional properties '{key}' not allowed");
        assert!(message.contains(&expected), "{message}");
    }
}
