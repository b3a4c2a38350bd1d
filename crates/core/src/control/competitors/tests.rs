use serde_json::json;

use super::*;

fn configuration(name: &str, webhook: &str, resource: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "webhooks": [{
            "name": webhook,
            "clientConfig": { "service": { "namespace": "there", "name": "svc" } },
            "rules": [{ "apiGroups": ["*"], "resources": [resource] }],
        }],
    })
}

#[test]
fn programs_that_swap_images_are_recognised() {
    for (name, webhook, program) in [
        ("imageswap-webhook", "imageswap.webhook.k8s.twr.io", "imageswap"),
        ("renamed", "imageswap.webhook.k8s.twr.io", "imageswap"),
        ("release-k8s-image-swapper", "k8s-image-swapper.github.io", "k8s-image-swapper"),
        ("kuik-mutating-webhook", "mpod.kb.io", "kube-image-keeper"),
        (
            "harbor-container-webhook",
            "harbor-container-webhook.example",
            "harbor-container-webhook",
        ),
        ("zarf", "agent-pod.zarf.dev", "Zarf"),
    ] {
        let found = recognise(&configuration(name, webhook, "pods")).unwrap();
        assert_eq!((found.configuration.as_str(), found.program), (name, program));
    }
}

#[test]
fn other_programs_and_image_swap_are_not_recognised() {
    for (name, webhook, resource) in [
        ("image-swap-admission", "pods.image-swap.io", "pods"),
        ("istio-sidecar-injector", "rev.namespace.sidecar-injector.istio.io", "pods"),
        ("imageswap-webhook", "imageswap.webhook.k8s.twr.io", "deployments"),
        ("nokuik", "mpod.kb.io", "pods"),
        ("zarf", "agent-flux.zarf.dev", "gitrepositories"),
    ] {
        assert_eq!(recognise(&configuration(name, webhook, resource)), None, "{name}");
    }
}

#[test]
fn program_without_endpoints_is_dead() {
    let found = recognise(&configuration("imageswap-webhook", "x.y.z", "pods")).unwrap();
    assert_eq!(found.backends, [Backend::Service("there".into(), "svc".into())]);
    assert_eq!(found.life(|_, _| false), Liveness::Dead);
    assert_eq!(found.life(|namespace, name| (namespace, name) == ("there", "svc")), Liveness::Live);
}

#[test]
fn program_outside_the_cluster_counts_as_live() {
    let mut configuration = configuration("imageswap-webhook", "x.y.z", "pods");
    configuration["webhooks"][0]["clientConfig"] = json!({ "url": "https://elsewhere.example" });
    assert_eq!(recognise(&configuration).unwrap().life(|_, _| false), Liveness::Live);
}

const GRACE: Duration = Duration::from_mins(10);

fn minute(at: u64) -> Duration {
    Duration::from_mins(at)
}

#[test]
fn restarted_program_stays_alive_for_grace_period() {
    let mut sightings = Sightings::default();
    let mut at = |life, at| sightings.observe("x", life, minute(at), GRACE);
    let alive = Settled { life: Liveness::Live, is_removable: false };
    assert_eq!(at(Liveness::Live, 0), alive);
    assert_eq!(at(Liveness::Dead, 1), alive);
    assert_eq!(at(Liveness::Dead, 10), alive);
    // A single endpoint ends the grace period.
    assert_eq!(at(Liveness::Live, 10), alive);
    assert_eq!(at(Liveness::Dead, 11), alive);
    assert_eq!(at(Liveness::Dead, 20), alive);
    assert_eq!(at(Liveness::Dead, 21), Settled { life: Liveness::Dead, is_removable: true });
    assert_eq!(at(Liveness::Dead, 22), Settled { life: Liveness::Dead, is_removable: true });
    assert_eq!(at(Liveness::Live, 23), alive);
}

#[test]
fn dead_program_is_removable_after_grace_period() {
    let mut sightings = Sightings::default();
    let dead = |is_removable| Settled { life: Liveness::Dead, is_removable };
    assert_eq!(sightings.observe("x", Liveness::Dead, minute(0), GRACE), dead(false));
    assert_eq!(sightings.observe("x", Liveness::Dead, minute(9), GRACE), dead(false));
    assert_eq!(sightings.observe("x", Liveness::Dead, minute(10), GRACE), dead(true));
    // A configuration that was deleted and created again is another one.
    sightings.retain(&[]);
    assert_eq!(sightings.observe("x", Liveness::Dead, minute(11), GRACE), dead(false));
}
